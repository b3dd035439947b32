"""The names job in Beam as its documentation teaches it, an element a row: python names_beam_rows.py INPUT OUTPUT_DIR.

ReadFromText tells no line numbers, so the people have none, and the first row of a CURP is the first that the runner
delivers. The embedded runner delivers them in the order of the file; Beam does not promise it.
"""

import csv
import sys

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

JUNK = {"NULL", "", "-", ".", "0", "/", "\\", "_"}
COLUMNS = ("CURP", "PRIMERAPELLIDO", "SEGUNDOAPELLIDO", "NOMBRESTRABAJADOR")
TEXTS = ("curp", "primer_apellido", "segundo_apellido", "nombre", "sex")
PEOPLE = pa.schema([*((name, pa.string()) for name in TEXTS), ("birth_year", pa.int16()), ("age", pa.int16())])


class Latin1Coder(beam.coders.Coder):
    """Decodes the lines of the file."""

    def encode(self, value: str) -> bytes:
        return value.encode("latin-1")

    def decode(self, encoded: bytes) -> str:
        return encoded.decode("latin-1")

    def is_deterministic(self) -> bool:
        return True


def parse(line: str, places: list[int]) -> tuple[str, tuple[str, ...]]:
    """Return the CURP and the names."""
    fields = line.split("|")
    curp, *names = (fields[place] for place in places)
    return curp.strip().upper(), tuple(names)


def describe(curp: str, rows) -> dict:
    """Return the person of a CURP and its rows."""
    first, second, given = next(iter(rows))
    sex, year = curp[10:11], int(curp[4:6]) if curp[4:6].isdecimal() else None
    person = {"curp": curp, "primer_apellido": first, "segundo_apellido": second, "nombre": given}
    person["sex"] = sex if sex in ("H", "M") else None
    return {**person, "birth_year": None if year is None else 1900 + year, "age": None if year is None else 112 - year}


class CountNames(beam.PTransform):
    """Count the values of a column that are names; those of fewer than five people are dropped."""

    def __init__(self, column: str):
        super().__init__()
        self.column = column

    def expand(self, people):
        return (
            people
            | beam.Map(lambda person: person[self.column])
            | beam.Filter(lambda name: name not in JUNK)
            | beam.combiners.Count.PerElement()
            | beam.Filter(lambda counted: counted[1] >= 5)
        )


def rows_of(name: str, joined: dict, total: int = 0):
    """Yield the row of a name that is in the table."""
    for count in joined["counts"]:
        yield name, count, next((round(age, 2) for age in joined["ages"]), None), count / total


def write(rows: list[tuple], path: str, header: tuple[str, ...]) -> None:
    """Write a table, the most frequent names first."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([header, *sorted(rows, key=lambda row: (-row[1], row[0]))])


def main(path: str, output: str) -> None:
    """Write the people and the tables."""
    with open(path, encoding="latin-1") as file:
        header = file.readline().rstrip("\n").split("|")
    places = [header.index(column) for column in COLUMNS]
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
        people = (
            pipeline
            | beam.io.ReadFromText(path, coder=Latin1Coder(), skip_header_lines=1)
            | beam.Map(parse, places)
            | beam.GroupByKey()
            | beam.MapTuple(describe)
        )
        people | beam.io.WriteToParquet(f"{output}/people", PEOPLE, codec="zstd", file_name_suffix=".parquet")

        surnames = {
            "frec_pri": people | "First" >> CountNames("primer_apellido"),
            "frec_seg": people | "Second" >> CountNames("segundo_apellido"),
        }
        (
            surnames
            | "JoinSurnames" >> beam.CoGroupByKey()
            | beam.MapTuple(lambda name, counts: (name, sum(counts["frec_pri"]), sum(counts["frec_seg"])))
            | "ListSurnames" >> beam.combiners.ToList()
            | "WriteSurnames" >> beam.Map(write, f"{output}/apellidos.csv", ("apellido", *surnames))
        )

        ages = (
            people
            | beam.Map(lambda person: (person["nombre"], person["age"]))
            | beam.Filter(lambda aged: aged[1] is not None)
            | beam.combiners.Mean.PerKey()
        )
        for table, letter in (("hombres", "H"), ("mujeres", "M")):
            bearers = people | f"Sex {table}" >> beam.Filter(lambda person, sex: person["sex"] == sex, letter)
            counts = bearers | f"Count {table}" >> CountNames("nombre")
            total = counts | f"Counts {table}" >> beam.Values() | f"Sum {table}" >> beam.CombineGlobally(sum)
            (
                {"counts": counts, "ages": ages}
                | f"Join {table}" >> beam.CoGroupByKey()
                | f"Rows {table}" >> beam.FlatMapTuple(rows_of, total=beam.pvalue.AsSingleton(total))
                | f"List {table}" >> beam.combiners.ToList()
                | f"Write {table}" >> beam.Map(write, f"{output}/{table}.csv", ("nombre", "frec", "edad_media", "prob"))
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
