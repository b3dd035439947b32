"""The names job in pandas: python names_pandas.py INPUT OUTPUT_DIR."""

import csv
import sys

import pandas as pd

JUNK = ["NULL", "", "-", ".", "0", "/", "\\", "_"]
COLUMNS = {
    "CURP": "curp",
    "PRIMERAPELLIDO": "primer_apellido",
    "SEGUNDOAPELLIDO": "segundo_apellido",
    "NOMBRESTRABAJADOR": "nombre",
}


def main(path: str, output: str) -> None:
    """Write the people and the tables."""
    rows = pd.read_csv(
        path,
        sep="|",
        encoding="latin-1",
        dtype=str,
        keep_default_na=False,
        quoting=csv.QUOTE_NONE,
        usecols=list(COLUMNS),
    ).rename(columns=COLUMNS)
    rows["curp"] = rows["curp"].str.strip().str.upper()
    people = rows.drop_duplicates("curp").copy()
    sex, year = people["curp"].str[10:11], pd.to_numeric(people["curp"].str[4:6], errors="coerce").astype("Int16")
    people["sex"] = sex.where(sex.isin(["H", "M"]))
    people["birth_year"], people["age"] = 1900 + year, 112 - year
    people["line"] = people.index + 2  # rows count from 0, and the header is line 1
    people.to_parquet(f"{output}/people.parquet", compression="zstd", index=False)

    def frequencies(column: str, bearers: pd.DataFrame = people) -> pd.Series:
        counts = bearers[column].value_counts(sort=False)
        return counts[(counts >= 5) & ~counts.index.isin(JUNK)]

    apellidos = pd.DataFrame(
        {"frec_pri": frequencies("primer_apellido"), "frec_seg": frequencies("segundo_apellido")}
    ).fillna(0)
    apellidos = apellidos.astype("int64").rename_axis("apellido").reset_index()
    apellidos = apellidos.sort_values(["frec_pri", "apellido"], ascending=[False, True])
    apellidos.to_csv(f"{output}/apellidos.csv", index=False)

    means = people.groupby("nombre", sort=False)["age"].mean().round(2)
    for table, letter in (("hombres", "H"), ("mujeres", "M")):
        counts = frequencies("nombre", people[people["sex"] == letter])
        counts = counts.rename("frec").rename_axis("nombre").reset_index()
        counts["edad_media"] = counts["nombre"].map(means)
        counts["prob"] = counts["frec"] / counts["frec"].sum()
        counts.sort_values(["frec", "nombre"], ascending=[False, True]).to_csv(f"{output}/{table}.csv", index=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
