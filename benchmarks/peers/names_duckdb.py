"""The names job in DuckDB, all of it but rejects and report: python names_duckdb.py INPUT OUTPUT_DIR [MEMORY_LIMIT]."""

import sys

import duckdb
from curp_form import FORM

JUNK = "('NULL', '', '-', '.', '0', '/', '\\', '_')"
# of several ways to have the value of a character the fastest: digits, A to N, Ñ, which stands in no CURP, O to Z
VALUE = "(CASE WHEN {0} <= 57 THEN {0} - 48 WHEN {0} <= 78 THEN {0} - 55 ELSE {0} - 54 END)"
SUM = " + ".join(f"{VALUE.format(f'ascii(curp[{place}])')} * {19 - place}" for place in range(1, 18))
NAMES = ("primer_apellido", "segundo_apellido", "nombre")

# No field may be null: the null text is one that no field holds. The lines are numbered as they stand in the file.
LINES = """
CREATE TEMP TABLE lines AS
SELECT upper(trim(CURP)) AS curp, PRIMERAPELLIDO AS primer_apellido, SEGUNDOAPELLIDO AS segundo_apellido,
       NOMBRESTRABAJADOR AS nombre, 1 + row_number() OVER () AS line
FROM read_csv($path, delim = '|', header = true, quote = '', escape = '', all_varchar = true,
              encoding = 'latin-1', nullstr = '\x01')
"""

CHECKS = f"""
SELECT count(*) FILTER (NOT fits) AS format, count(*) FILTER (fits AND (10 - total % 10) % 10 <> last) AS check_digit
FROM (
    SELECT regexp_full_match(curp, '{FORM}') AS fits, {SUM} AS total, try_cast(curp[18] AS integer) AS last
    FROM lines
)
"""

PEOPLE = """
CREATE TEMP TABLE people AS
WITH kept AS (
    SELECT curp, arg_min(primer_apellido, line) AS primer_apellido, arg_min(segundo_apellido, line) AS segundo_apellido,
           arg_min(nombre, line) AS nombre, min(line) AS line, count(*) AS rows
    FROM lines GROUP BY curp
)
SELECT curp, primer_apellido, segundo_apellido, nombre,
       CASE WHEN curp[11] IN ('H', 'M') THEN curp[11] END AS sex,
       (1900 + try_cast(curp[5:6] AS utinyint))::smallint AS birth_year,
       (112 - try_cast(curp[5:6] AS utinyint))::smallint AS age,
       line, rows
FROM kept
"""

CONFLICTS = f"""
SELECT curp, people.line AS kept_line, lines.line AS dropped_line,
       {", ".join(f"people.{name} AS kept_{name}, lines.{name} AS dropped_{name}" for name in NAMES)}
FROM people JOIN lines USING (curp)
WHERE people.rows > 1 AND lines.line > people.line
      AND ({" OR ".join(f"people.{name} <> lines.{name}" for name in NAMES)})
ORDER BY kept_line, dropped_line
"""

APELLIDOS = f"""
SELECT apellido, coalesce(frec_pri, 0) AS frec_pri, coalesce(frec_seg, 0) AS frec_seg
FROM (SELECT primer_apellido AS apellido, count(*) AS frec_pri FROM people GROUP BY 1 HAVING count(*) >= 5)
FULL JOIN (SELECT segundo_apellido AS apellido, count(*) AS frec_seg FROM people GROUP BY 1 HAVING count(*) >= 5)
    USING (apellido)
WHERE apellido NOT IN {JUNK}
ORDER BY frec_pri DESC, apellido
"""

NOMBRES = """
CREATE TEMP TABLE nombres AS
SELECT nombre, count(*) FILTER (sex = 'H') AS hombres, count(*) FILTER (sex = 'M') AS mujeres,
       round_even(avg(age), 2) AS edad_media
FROM people GROUP BY nombre
"""


def of_sex(table: str) -> str:
    """Return the query of `hombres` or `mujeres`."""
    return f"""
    SELECT nombre, {table} AS frec, edad_media, {table} / sum({table}) OVER () AS prob
    FROM nombres WHERE {table} >= 5 AND nombre NOT IN {JUNK}
    ORDER BY frec DESC, nombre
    """


def main(path: str, output: str, memory_limit: str = "") -> None:
    """Write the people, the conflicts, what is wrong with the CURPs, and the tables."""
    limits = {"memory_limit": memory_limit, "temp_directory": f"{output}/spilled"} if memory_limit else {}
    with duckdb.connect(config={"threads": 2, **limits}) as db:
        db.execute(LINES, {"path": path})
        db.execute(f"COPY ({CHECKS}) TO '{output}/curps.csv' (FORMAT csv, HEADER)")
        db.execute(PEOPLE)
        db.execute(f"COPY ({CONFLICTS}) TO '{output}/conflicts.parquet' (FORMAT parquet, COMPRESSION zstd)")
        db.execute("DROP TABLE lines")
        db.execute(
            f"COPY (SELECT * EXCLUDE rows FROM people) TO '{output}/people.parquet' (FORMAT parquet, COMPRESSION zstd)"
        )
        db.execute(NOMBRES)
        for table, query in {
            "apellidos": APELLIDOS,
            "hombres": of_sex("hombres"),
            "mujeres": of_sex("mujeres"),
        }.items():
            db.execute(f"COPY ({query}) TO '{output}/{table}.csv' (FORMAT csv, HEADER)")


if __name__ == "__main__":
    main(*sys.argv[1:])
