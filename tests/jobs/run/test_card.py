"""The card of an output: read by Hugging Face as it is, and the same for the same rows."""

import json
import os
import re

import pyarrow as pa
import pytest

import molino
from molino.jobs.run.card import DatasetCard, describe_fields
from molino.schemas import field, schema
from tests.every_job import JOBS, prepare

PEOPLE = schema(
    "people", 1, field("name", pa.string(), "A | B\nname"), field("age", pa.int16(), "Years", nullable=True)
)


def manifest(**changes):
    file = {"path": "people/part-0.parquet", "rows": 3, "bytes": 9, "sha256": "0"}
    dataset = {"schema": "people", "version": 1, "rows": 3, "digest": "0", "files": [file]}
    empty = {**dataset, "rows": 0, "files": []}
    return {
        "job": "towns",
        "counters": {"rows_read": 3_000},
        "datasets": {"people": dataset, "rejects": empty},
        "inputs": [{"path": "/in.txt", "bytes": 10}],
        "options": {"delimiter": "|"},
        "warnings": [],
        **changes,
    }


CARD = DatasetCard(about="people", personal="names", fields={"people": describe_fields(PEOPLE)})


def test_a_card_says_what_is_there():
    text = CARD.render(manifest()).decode()
    assert "| `people` | 3 | 1 | `people` 1 |" in text
    assert r"| `name` | `string` |  | A \| B name |" in text
    assert "| `age` | `int16` | yes | Years |" in text
    assert "> **Personal data**: names." in text
    assert "| `rows_read` | 3,000 |" in text
    assert "| `/in.txt` | 10 |" in text
    assert "Personal" not in DatasetCard(about="").render(manifest()).decode()


def test_a_data_set_without_rows_is_no_configuration():
    head = CARD.render(manifest()).decode().split("---\n")[1]
    assert [json.loads(line[2:])["config_name"] for line in head.splitlines() if line.startswith("- ")] == ["people"]


def test_many_inputs_are_counted():
    inputs = [{"path": f"/in{n}.txt", "bytes": 1} for n in range(30)]
    text = CARD.render(manifest(inputs=inputs)).decode()
    assert "in19.txt" in text
    assert "in20.txt" not in text
    assert "and 10 more" in text


def test_a_name_that_is_no_text_is_written_all_the_same():
    CARD.render(manifest(inputs=[{"path": "/in\udcff.txt", "bytes": 1}]))


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
@pytest.mark.filterwarnings("ignore")  # of the library
def test_hugging_face_loads_every_output(job, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()
    prepare(job, tmp_path)
    monkeypatch.chdir(tmp_path)
    options = {}
    for words in re.split(r" --", " " + " ".join(JOBS[job][1]))[1:]:
        name, *values = words.split()
        options[name] = values
    run = molino.run(job, **options, output="out", quiet=True)
    if job == "predict":  # tests/faults compare the cards of all others, byte by byte
        assert run.view("README.md") == molino.run(job, **options, output="again", quiet=True).view("README.md")
    full = {name for name, entry in run.manifest["datasets"].items() if entry["files"]}
    assert set(datasets.get_dataset_config_names(str(tmp_path / "out"))) == full
    for name in full:
        loaded = datasets.load_dataset(os.path.abspath("out"), name, cache_dir=str(tmp_path / "cache"))
        assert sum(loaded.num_rows.values()) == run.manifest["datasets"][name]["rows"]
        splits = loaded if name == "titles" else {None: loaded["train"]}
        assert set(splits) == ({"train", "validation", "test"} if name == "titles" else {None})
        for split, rows in splits.items():
            assert rows.column_names == run.schema(name).names
            assert rows.num_rows == run.read(name, split=split).num_rows
            assert split is None or set(rows["split"]) == {split}
