"""`molino plan`: what it says before a run, against what the run then counts."""

import gzip
import importlib
import json
import os
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molino import machine
from molino.jobs import cli, names
from molino.jobs.runners.engine import make_engine
from molino.transforms.names.sample import sample_names
from molino.transforms.titles.sample import sample_titles
from molino.transforms.whales.sample import sample_whales

SWEEP = "- problem: [circle, ring]\n  hidden: [3, 10]\n  batch: 100\n  steps: 50\n"


def run(job, output, *arguments):
    """Run a job in this process, on one worker, and return its manifest."""
    words = ["--quiet", "--workers", "1", "--output", str(output), *map(str, arguments)]
    assert importlib.import_module(f"molino.jobs.{job}").JOB.main(words) == 0
    return json.loads((output / "_manifest.json").read_text())


def planned(capsys, *words):
    """Return what `molino plan --json` prints."""
    capsys.readouterr()
    assert cli.main(["plan", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def told(capsys, *words):
    """Return the lines of a plan by their names, notes together."""
    capsys.readouterr()
    assert cli.main(["plan", *map(str, words)]) == 0
    lines = [line.strip().split("  ", 1) for line in capsys.readouterr().out.splitlines()]
    return dict(lines) | {"note": [text for name, text in lines if name == "note"]}


# --- plan and fact, job by job: those of predict are in its own tests


def make_names(folder):
    sample_names(str(folder / "in/sep.txt"), rows=60_000, files=3)
    return ["--input", *sorted((folder / "in").iterdir())]


def make_titles(folder):
    from molino.training.nnlm_export import export_nnlm

    sample_titles(str(folder / "titles.csv"), rows=20_000)
    words = ["celular", "mesa", "de", "32", "samsung", "negro"]
    vectors = np.random.default_rng(0).normal(size=(len(words) + 7, 50)).astype(np.float32)
    export_nnlm(str(folder / "model"), words, vectors, buckets=7, normalization=True)
    return ["--input", folder / "titles.csv", "--model", f"m={folder / 'model'}"]


def make_pca(folder):
    numbers = np.random.default_rng(0).normal(size=(60_000, 64)).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1)), 64)
    pq.write_table(pa.table({"row": np.arange(len(numbers)), "v": column}), folder / "v.parquet")
    return ["--input", folder / "v.parquet", "--column", "v", "--components", 8, "--vector-type", "float16"]


def make_whales(folder):
    sample_whales(str(folder / "sea"), images=12, width=1500, height=1000)
    return ["--input", folder / "sea/images"]


def make_shapes(folder):
    (folder / "sweep.yaml").write_text(SWEEP)
    return ["--sweep", folder / "sweep.yaml", "--rows", 20_000]


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A run of names: its arguments and its output."""
    folder = tmp_path_factory.mktemp("names")
    given = make_names(folder)
    run("names", folder / "out", *given)
    return given, folder / "out"


@pytest.mark.slow
@pytest.mark.parametrize("job", ["names", "titles", "pca", "whales", "shapes"])
def test_plan_and_fact(job, tmp_path, capsys, request):
    if job == "names":
        given, output = request.getfixturevalue("named")
        manifest = json.loads((output / "_manifest.json").read_text())
    else:
        given = globals()[f"make_{job}"](tmp_path)
        manifest = run(job, tmp_path / "out", *given)
        assert re.search(r"took  .* (s|min), .*/s; plan said .* (s|min)\n", capsys.readouterr().out)
    found = planned(capsys, job, *given, "--workers", 1)
    counters, used = manifest["counters"], manifest["used"]
    assert found["rows"] == pytest.approx(counters[manifest["balance"][0]], rel=0.1)
    assert all(counters[name] <= 1.1 * rows <= 1.3 * counters[name] for name, rows in found["datasets"].items())
    assert found["shuffle_bytes"] == pytest.approx(used["shuffle_bytes"] or 0, rel=0.25)
    # a crop is as large as what was found
    assert found["written_bytes"] == pytest.approx(used["written_bytes"], rel=0.4 if job == "whales" else 0.3)
    assert found["core_hours"] == pytest.approx(found["seconds"] / 3600)
    assert {name: fact for name, fact in found.items() if name not in ("seen", "warnings")} == manifest["plan"]
    if job in ("names", "whales"):
        files = given[1:] if job == "names" else given[1].rglob("*.jpg")
        assert found["read_bytes"] == sum(os.path.getsize(path) for path in files)


def test_what_is_brought_together_is_as_large_as_planned(tmp_path, capsys, monkeypatch):
    """A large input in small: many spans and shards, so that much of it is no rows."""
    from molino.transforms.files.list_files import list_files
    from molino.transforms.rows.partition import cut_for_shards, write_buckets
    from molino.transforms.text.read import read_span
    from molino.transforms.text.sources import TextFormat, list_sources, split_sources

    monkeypatch.setattr(names, "BLOCK_BYTES", 20_000)
    sample_names(str(tmp_path / "sep.txt"), rows=20_000)
    found = planned(capsys, "names", "--input", tmp_path / "sep.txt", "--span-bytes", 8_000)
    text = TextFormat(columns=names.COLUMNS)
    shards, folder = found["parts"]["write"], tmp_path / "buckets"
    folder.mkdir()
    for span in split_sources(list_sources(list_files(str(tmp_path / "sep.txt")).files, text), 8_000):
        rows = next(read_span(span, text, 8_000)).rows
        write_buckets(cut_for_shards(rows, np.arange(rows.num_rows) % shards, shards, shards), str(folder))
    assert sum(map(os.path.getsize, folder.iterdir())) == pytest.approx(found["shuffle_bytes"], rel=0.1)
    assert found["overhead_bytes"] > 0.4 * found["shuffle_bytes"]


# --- the command


@pytest.fixture
def payroll(tmp_path):
    path = tmp_path / "sep.txt"
    sample_names(str(path), rows=2000)
    return path


def test_it_tells_and_writes_nothing(payroll, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    lines = told(capsys, "names", "--input", payroll, "--output", tmp_path / "new", "--workers", 2)
    assert {"seen", "rows", "people", "shuffle", "written", "disk", "memory", "parts", "reserved"} <= set(lines)
    assert "free" in lines["disk"]
    assert re.fullmatch(r"about .* s with 2 workers, between .* s and .* s", lines["time"])
    assert sorted(tmp_path.rglob("*")) == before


def test_a_machine_that_has_too_little_is_told(payroll, capsys, monkeypatch):
    words = ["names", "--input", payroll]
    monkeypatch.setattr(machine, "cpu_share", lambda root="/": machine.Share(2, 64, "cgroup quota"))
    monkeypatch.setattr(machine, "memory_share", lambda root="/": machine.Share(10**12, 10**12))
    lines = told(capsys, *words)
    assert lines["machine"] == "2 of 64 cores: cgroup quota; 1e+03 GB of memory"
    assert lines["memory"].endswith(" for 2")
    assert lines["note"] == ["no more than 1 of the 2 workers can share all of it"]
    monkeypatch.setattr(machine, "memory_share", lambda root="/": machine.Share(10**8, 10**12, "cgroup limit"))
    lines = told(capsys, *words, "--workers", 3)
    assert lines["note"][0] == "3 workers would share 2 cores"
    assert lines["memory"].endswith(" for 3; too little")
    lines = told(capsys, *words, "--runner", "FlinkRunner", "--parallelism", 3)
    assert "machine" not in lines
    assert lines["memory"].endswith(" for 3")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["names", "--input", "nowhere.txt"], 1, "there is no file nowhere.txt"),
        (["names", "--input", "{payroll}", "--spam"], 2, "no such option: --spam"),
        (["names", "--input", "{payroll}", "--runner", "FlinkRuner"], 2, "did you mean FlinkRunner?"),
        (["names", "--input", "{payroll}", "--curp-key-file", "k"], 2, "needs --curp hash"),
        (["titles", "--input", "{payroll}"], 1, "lacks the columns 'title', 'category'"),
        (["pca", "--input", "{payroll}", "--column", "v"], 1, "sep.txt"),
        (["shapes", "--sweep", "nowhere.yaml"], 1, "cannot read the sweep nowhere.yaml"),
        (["names", "--input", "{payroll}", "--runner", "FlinkRunner", "--parallelism", "0"], 2, "at least 1, not 0"),
        (["names", "--input", "{payroll}", "--runner", "DataflowRunner"], 2, "give a gs:// path"),
        (["names", "--input", "{payroll}", "--output", "ftp://h/x"], 2, "there is no file system for ftp://"),
        (["names", "--inptu", "{payroll}"], 2, "did you mean --input by --inptu?"),
        (["spam"], 2, "invalid choice: 'spam'"),
        (["--json", "names"], 2, "the job comes first"),
        ([], 2, "molino plan names --input demo/sep.txt"),
    ],
)
def test_what_is_wrong_is_told_as_the_job_tells_it(words, code, said, payroll, capsys):
    try:
        ended = cli.main(["plan", *(word.format(payroll=payroll) for word in words)])
    except SystemExit as stop:
        ended = stop.code
    error = capsys.readouterr().err
    assert ended == code
    assert said in error
    assert "Traceback" not in error


def test_workers_are_those_of_the_run(payroll, capsys):
    words = ["names", "--input", payroll, "--runner", "FlinkRunner"]
    assert planned(capsys, *words, "--parallelism", "3")["workers"] == 3
    assert planned(capsys, *words, "--workers", "4")["workers"] == 4
    assert planned(capsys, *words)["workers"] == 1


@pytest.mark.parametrize(
    ("flags", "workers"),
    [
        (["--num_workers", "3"], 3),
        (["--num_workers", "2", "--machine_type", "n2-standard-8"], 16),
        (["--machine_type", "n2-highmem-4", "--max_num_workers", "5"], 20),
        (["--machine_type", "c2-standard-8"], 8),
        (["--num_workers", "2", "--machine_type", "n2-custom-4-8192"], 8),
        (["--num_workers", "2", "--machine_type", "e2-medium"], 2),
    ],
)
def test_workers_of_dataflow(flags, workers):
    args = names.parser().parse_strictly(["--input", "a", "--output", "b", "--runner", "DataflowRunner"])[0]
    assert make_engine(args, flags).workers == workers


@pytest.mark.slow
def test_an_output_that_is_taken(named, capsys):
    given, output = named
    words = ["plan", "names", *map(str, given), "--output", str(output)]
    assert cli.main(words) == 0
    assert cli.main([*words, "--min-count", "9"]) == 3
    assert "other options (min_count 9, was 5); add --overwrite" in capsys.readouterr().err
    assert cli.main([*words, "--min-count", "9", "--overwrite"]) == 0


@pytest.mark.slow
def test_the_report_compares_rows(named):
    manifest = json.loads((named[1] / "_manifest.json").read_text())
    page = (named[1] / "report.html").read_text().split("Plan and fact", 1)[1]
    assert f"{manifest['plan']['rows']:,}" in page
    # what differs between runs of the same bytes stays out of it
    assert f"{manifest['plan']['seconds']:.2f}" not in page


def test_other_forms_are_planned_as_the_text(tmp_path, capsys):
    import pyarrow.csv as pa_csv

    path = tmp_path / "titles.csv"
    sample_titles(str(path), rows=5000)
    (tmp_path / "titles.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    table = pa_csv.read_csv(path, parse_options=pa_csv.ParseOptions(newlines_in_values=True))
    pq.write_table(table, tmp_path / "titles.parquet", row_group_size=1000)
    plain, packed, columns = (
        planned(capsys, "titles", "--input", f"{tmp_path}/titles.{kind}") for kind in ("csv", "csv.gz", "parquet")
    )
    assert plain["rows"] == pytest.approx(5000, rel=0.05)
    for what in ("rows", "read_bytes", "shuffle_bytes", "written_bytes"):
        assert packed[what] == pytest.approx(plain[what], rel=0.1)
    assert (columns["rows"], columns["exact"], plain["exact"]) == (table.num_rows, True, False)
    assert columns["shuffle_bytes"] == pytest.approx(plain["shuffle_bytes"], rel=0.25)


def test_a_runner_that_was_not_measured_has_no_time(payroll, capsys):
    lines = told(capsys, "names", "--input", payroll, "--runner", "SparkRunner", "--workers", 4)
    assert lines["time"] == "not known: SparkRunner was not measured"
    assert "reserved" not in lines
    assert "memory" in lines


def test_an_input_without_rows(tmp_path, capsys):
    path = tmp_path / "sep.txt"
    path.write_text("CURP|PRIMERAPELLIDO|SEGUNDOAPELLIDO|NOMBRESTRABAJADOR\n")
    found = planned(capsys, "names", "--input", path, "--allow-empty")
    assert found["rows"] == found["shuffle_bytes"] == 0


@pytest.mark.slow
def test_a_plan_that_fails_ends_no_run(payroll, tmp_path, capsys, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("no sample")

    monkeypatch.setattr("molino.transforms.text.take_sample.take_sample", fail)
    lines = told(capsys, "names", "--input", payroll)
    assert lines["time"] == "not known: ZeroDivisionError: no sample"
    assert "rows" not in lines
    manifest = run("names", tmp_path / "out", "--input", payroll)
    assert manifest["plan"]["unknown"] == "ZeroDivisionError: no sample"
    assert "plan said" not in capsys.readouterr().out
    assert "Plan and fact" not in (tmp_path / "out/report.html").read_text()
