"""Several outputs of one transform, and what Beam says of them in a pipeline of someone else's."""

import ast
import logging
import operator
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from molino.jobs.names import COLUMNS
from molino.schemas.rejects import REJECTS
from molino.transforms.files.list_files import list_files
from molino.transforms.names.count import CountNames, count_births, sum_births
from molino.transforms.names.people import NAMES, DescribedPeople, VerifiedRows, describe_people, verify_curps
from molino.transforms.parquet.write import WriteParquet
from molino.transforms.rows.batches import Counters
from molino.transforms.rows.gather import Gather
from molino.transforms.rows.keep_first import KeepFirstPerKey
from molino.transforms.rows.outputs import ParDoInto
from molino.transforms.rows.partition import PartitionRows
from molino.transforms.text.position import POSITION
from molino.transforms.text.read import GatherRejects, ReadDelimited
from molino.transforms.text.sources import TextFormat, list_sources
from molino.transforms.warnings import Sighting

CURP_OF = operator.itemgetter("curp")
ROOT = Path(__file__).parents[3]
TEXT = TextFormat(columns=COLUMNS, encoding="utf-8", delimiter="|")
LINES = """CURP|PRIMERAPELLIDO|SEGUNDOAPELLIDO|NOMBRESTRABAJADOR
HEGG560427MVZRRL04|HERNANDEZ|GARCIA|GLORIA
HEGG560427MVZRRL04|HERNANDEZ|GARCIA|GLORIA MARIA
|GARCIA|LOPEZ|JUAN
short
"""


@pytest.mark.parametrize("spills", [True, False])
def test_nothing_warns_in_a_pipeline_of_someone_else(tmp_path, caplog, spills):
    (tmp_path / "in.txt").write_text(LINES)
    spill = str(tmp_path) if spills else None
    caplog.set_level(logging.WARNING)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        sources = list_sources(list_files(str(tmp_path / "in.txt")).files, TEXT)
        read = pipeline | ReadDelimited(sources=sources, text=TEXT)
        how = {"missing": "reject"}
        verified = read.rows | "Verify" >> ParDoInto(into=VerifiedRows, call=verify_curps, arguments=how)
        rejects = (read.rejects, verified.rejects) | beam.Flatten() | GatherRejects(lines=read.lines)
        first = (
            verified.rows
            | PartitionRows(key=CURP_OF, schema=TEXT.schema, blocks=4, shards=2, order_by=POSITION, spill=spill)
            | KeepFirstPerKey(key="curp", compare=NAMES)
        )
        how = {"reference_year": 2012, "century": False}
        described = first.kept | ParDoInto(into=DescribedPeople, call=describe_people, arguments=how)
        tables = described.people | CountNames(
            conflicts=first.conflicts, min_count=1, junk=[], repair=True, partitions=1, spill=spill
        )
        births = described.people | beam.Map(count_births) | Gather(into=sum_births)
        files = rejects.shards | WriteParquet(schema=REJECTS, folder=str(tmp_path), dataset="rejects")
        assert_that(tables | "People" >> beam.Map(lambda tables: tables.people), equal_to([1]), label="people")
        assert_that(births | "Ages" >> beam.Map(lambda births: births["age"][0].as_py()), equal_to([56]), label="ages")
        assert_that(
            files | beam.Reshuffle() | "Rows" >> beam.Map(lambda file: file.rows), equal_to([2]), label="rejects"
        )
    assert [record.getMessage() for record in caplog.records] == []


@pytest.mark.parametrize("room", ["transforms", "jobs"])
def test_transforms_with_several_outputs_say_so(room):
    """Beam prints a warning in everyone's pipeline that applies a transform that returns no collection."""
    for path in (ROOT / room).rglob("*.py"):
        for made in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for method in made.body if isinstance(made, ast.ClassDef) else []:
                if isinstance(method, ast.FunctionDef) and method.name == "expand":
                    several = isinstance(method.returns, ast.Name)  # and not beam.PCollection
                    assert not several or "NamedOutputs" in map(ast.unparse, made.bases), f"{path}: {made.name}"


def test_a_sighting_stays_one_on_its_way():
    """A worker encodes what it sends by the declared type: of a plain int the place would be lost."""
    coder = beam.coders.registry.get_coder(Counters)
    sent = {"rows": 3, "_odd": Sighting(2, (0, 7, "a.txt"))}
    received = coder.decode(coder.encode(sent))
    assert received == sent
    assert received["_odd"].example == "a.txt line 7"
