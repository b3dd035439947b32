"""The names job in Polars: python names_polars.py INPUT OUTPUT_DIR [ENCODING].

Polars scans only UTF-8. As `utf8-lossy` every letter outside ASCII becomes U+FFFD, so Ñ and Ð are one letter and the
tables are wrong; that is the default here because it is what Polars does at full speed. With any other encoding, such
as latin-1, Python decodes the whole file in memory first, and the tables are right.
"""

import sys

import polars as pl

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


def counted(people: pl.DataFrame, column: str, frequency: str) -> pl.DataFrame:
    """Return how many people bear each name of a column."""
    counts = people.group_by(pl.col(column).alias("apellido")).agg(pl.len().alias(frequency))
    return counts.filter(pl.col(frequency) >= 5, ~pl.col("apellido").is_in(JUNK))


def main(path: str, output: str, encoding: str = "utf8-lossy") -> None:
    """Write the people and the tables."""
    rows = read(path, encoding).select("line", *COLUMNS).rename(COLUMNS)
    rows = rows.with_columns(pl.col("curp").str.strip_chars().str.to_uppercase())
    rows = rows.group_by("curp").agg(pl.all().min_by("line"))  # twice as fast as unique(keep="first")
    sex, year = pl.col("curp").str.slice(10, 1), pl.col("curp").str.slice(4, 2).cast(pl.Int16, strict=False)
    sex = pl.when(sex.is_in(["H", "M"])).then(sex)
    people = rows.with_columns(sex=sex, birth_year=1900 + year, age=112 - year).collect(engine="streaming")
    people.write_parquet(f"{output}/people.parquet", compression="zstd")

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
