"""The names job in DuckDB: python names_duckdb.py INPUT OUTPUT_DIR."""

import sys

import duckdb

JUNK = "('NULL', '', '-', '.', '0', '/', '\\', '_')"

# No field may be null: the null text is one that no field holds. The lines are numbered as they stand in the file.
PEOPLE = """
CREATE TEMP TABLE people AS
WITH lines AS (
    SELECT upper(trim(CURP)) AS curp, PRIMERAPELLIDO AS first, SEGUNDOAPELLIDO AS second, NOMBRESTRABAJADOR AS given,
           1 + row_number() OVER () AS line
    FROM read_csv($path, delim = '|', header = true, quote = '', escape = '', all_varchar = true,
                  encoding = 'latin-1', nullstr = '\x01')
), kept AS (
    SELECT curp, arg_min(first, line) AS primer_apellido, arg_min(second, line) AS segundo_apellido,
           arg_min(given, line) AS nombre, min(line) AS line
    FROM lines GROUP BY curp
)
SELECT curp, primer_apellido, segundo_apellido, nombre,
       CASE WHEN curp[11] IN ('H', 'M') THEN curp[11] END AS sex,
       (1900 + try_cast(curp[5:6] AS utinyint))::smallint AS birth_year,
       (112 - try_cast(curp[5:6] AS utinyint))::smallint AS age,
       line
FROM kept
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


def main(path: str, output: str) -> None:
    """Write the people and the tables."""
    with duckdb.connect(config={"threads": 2}) as db:
        db.execute(PEOPLE, {"path": path})
        db.execute(f"COPY people TO '{output}/people.parquet' (FORMAT parquet, COMPRESSION zstd)")
        db.execute(NOMBRES)
        for table, query in {
            "apellidos": APELLIDOS,
            "hombres": of_sex("hombres"),
            "mujeres": of_sex("mujeres"),
        }.items():
            db.execute(f"COPY ({query}) TO '{output}/{table}.csv' (FORMAT csv, HEADER)")


if __name__ == "__main__":
    main(*sys.argv[1:])
