"""The names job in Polars, all of it but rejects and report: python names_polars.py INPUT OUTPUT_DIR [ENCODING].

Polars scans only UTF-8. As `utf8-lossy` every letter outside ASCII becomes U+FFFD, so Ñ and Ð are one letter and the
tables are wrong; that is the default here because it is what Polars does at full speed. With any other encoding, such
as latin-1, Python decodes the whole file in memory first, and the tables are right.
"""

import sys

import polars as pl
from curp_form import FORM

NAMES = ("primer_apellido", "segundo_apellido", "nombre")
JUNK = ["NULL", "", "-", ".", "0", "/", "\\", "_"]
COLUMNS = {
    "CURP": "curp",
    "PRIMERAPELLIDO": "primer_apellido",
    "SEGUNDOAPELLIDO": "segundo_apellido",
    "NOMBRESTRABAJADOR": "nombre",
}


def read(path: str, encoding: str) -> pl.LazyFrame:
    """Return the rows, numbered as the lines of the file are."""
    how = {"separator": "|", "quote_char": None, "infer_schema": False, "empty_string_is_null": False}
    how |= {"encoding": encoding, "row_index_name": "line", "row_index_offset": 2}
    if encoding == "utf8-lossy":
        return pl.scan_csv(path, **how)
    return pl.read_csv(path, columns=list(COLUMNS), **how).lazy()


def check_curps(rows: pl.LazyFrame) -> pl.DataFrame:
    """Return how many CURPs have another form, and how many of the others another check digit."""
    curps = rows.select(fits=pl.col("curp").str.contains(f"^{FORM}$"), curp=pl.col("curp"))
    kept = pl.when("fits").then("curp").otherwise(pl.lit("0" * 18))  # 18 zeros have the check digit 0
    codes = curps.select("fits", codes=kept.cast(pl.Binary).bin.reinterpret(dtype=pl.Array(pl.UInt8, 18)))
    total = pl.sum_horizontal(value(pl.col("codes").arr.get(place)) * (18 - place) for place in range(17))
    wrong = (10 - total % 10) % 10 != value(pl.col("codes").arr.get(17))
    return codes.select(format=(~pl.col("fits")).sum(), check_digit=wrong.sum()).collect(engine="streaming")


def value(code: pl.Expr) -> pl.Expr:
    """Return the value of a character by its code: digits, A to N, Ñ, which stands in no CURP, O to Z."""
    code = code.cast(pl.Int16)
    return pl.when(code <= 57).then(code - 48).when(code <= 78).then(code - 55).otherwise(code - 54)


def conflicts(people: pl.LazyFrame, rows: pl.LazyFrame) -> pl.DataFrame:
    """Return the rows that are not the first of their CURP and have other names, beside the first."""
    kept = people.filter(pl.col("rows") > 1).select("curp", pl.col("line", *NAMES).name.prefix("kept_"))
    dropped = rows.select("curp", pl.col("line", *NAMES).name.prefix("dropped_"))
    differ = pl.any_horizontal(pl.col(f"kept_{name}") != pl.col(f"dropped_{name}") for name in NAMES)
    both = kept.join(dropped, on="curp").filter(pl.col("dropped_line") > pl.col("kept_line"), differ)
    return both.sort("kept_line", "dropped_line").collect(engine="streaming")


def counted(people: pl.DataFrame, column: str, frequency: str) -> pl.DataFrame:
    """Return how many people bear each name of a column."""
    counts = people.group_by(pl.col(column).alias("apellido")).agg(pl.len().alias(frequency))
    return counts.filter(pl.col(frequency) >= 5, ~pl.col("apellido").is_in(JUNK))


def main(path: str, output: str, encoding: str = "utf8-lossy") -> None:
    """Write the people, the conflicts, what is wrong with the CURPs, and the tables."""
    rows = read(path, encoding).select("line", *COLUMNS).rename(COLUMNS)
    rows = rows.with_columns(pl.col("curp").str.strip_chars().str.to_uppercase())
    check_curps(rows).write_csv(f"{output}/curps.csv")
    # twice as fast as unique(keep="first")
    kept = rows.group_by("curp").agg(pl.all().min_by("line"), rows=pl.len())
    sex, year = pl.col("curp").str.slice(10, 1), pl.col("curp").str.slice(4, 2).cast(pl.Int16, strict=False)
    sex = pl.when(sex.is_in(["H", "M"])).then(sex)
    people = kept.with_columns(sex=sex, birth_year=1900 + year, age=112 - year).collect(engine="streaming")
    conflicts(people.lazy(), rows).write_parquet(f"{output}/conflicts.parquet", compression="zstd")
    people.drop("rows").write_parquet(f"{output}/people.parquet", compression="zstd")

    first, second = counted(people, "primer_apellido", "frec_pri"), counted(people, "segundo_apellido", "frec_seg")
    apellidos = first.join(second, on="apellido", how="full", coalesce=True).fill_null(0)
    apellidos.sort("frec_pri", "apellido", descending=[True, False]).write_csv(f"{output}/apellidos.csv")

    is_man, is_woman = pl.col("sex") == "H", pl.col("sex") == "M"
    nombres = people.group_by("nombre").agg(hombres=is_man.sum(), mujeres=is_woman.sum(), edad_media=pl.mean("age"))
    nombres = nombres.with_columns(pl.col("edad_media").round(2)).filter(~pl.col("nombre").is_in(JUNK))
    for table in ("hombres", "mujeres"):
        counts = nombres.filter(pl.col(table) >= 5).select("nombre", pl.col(table).alias("frec"), "edad_media")
        counts = counts.with_columns(prob=pl.col("frec") / pl.col("frec").sum())
        counts.sort("frec", "nombre", descending=[True, False]).write_csv(f"{output}/{table}.csv")


if __name__ == "__main__":
    main(*sys.argv[1:])
