"""`molino plan`: what it says before a run, against what the run then counts."""

import gzip
import json
import os
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molino import machine
from molino.jobs import cli, names, pca, shapes, titles, whales
from molino.jobs.runners.flags import workers_of
from molino.transforms.names.sample import sample_names
from molino.transforms.titles.sample import sample_titles
from molino.transforms.whales.sample import sample_whales

NEAR = 0.10


def run(job, output, *arguments):
    """Run a job in this process, on one worker, and return its manifest."""
    words = ["--quiet", "--workers", "1", "--output", str(output), *map(str, arguments)]
    assert job.main(words) == 0
    return json.loads((output / "_manifest.json").read_text())


def planned(capsys, *words):
    """Return what `molino plan --json` prints."""
    capsys.readouterr()
    assert cli.main(["plan", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def compare(manifest, found, *, written=0.15):
    """Assert that a manifest's facts are near a plan's figures, and that it keeps the plan of its own run.

    What is written depends on what stands in the input, such as duplicates; `written` is how far it may be off.
    """
    fact, used = manifest["counters"], manifest["used"]
    assert found["rows"] == pytest.approx(fact[manifest["balance"][0]], rel=NEAR)
    assert found["read_bytes"] == manifest["plan"]["read_bytes"]
    assert {name: rows for name, rows in found["datasets"].items() if rows != pytest.approx(fact[name], rel=NEAR)} == {}
    if used["shuffle_bytes"]:
        assert found["shuffle_bytes"] == pytest.approx(used["shuffle_bytes"], rel=NEAR)
    else:
        assert found["shuffle_bytes"] == 0
    assert found["written_bytes"] == pytest.approx(used["written_bytes"], rel=written)
    assert manifest["plan"]["rows"] == round(found["rows"])
    assert manifest["plan"]["shuffle_bytes"] == round(found["shuffle_bytes"])


def sizes_of(*paths):
    return sum(os.path.getsize(path) for path in paths)


# --- plan and fact, job by job


@pytest.mark.slow
@pytest.mark.parametrize("files", [1, 3])
def test_names(tmp_path, capsys, files):
    source = tmp_path / "in/sep.txt"
    sample_names(str(source), rows=120_000, files=files)
    inputs = sorted(source.parent.iterdir())
    manifest = run(names, tmp_path / "out", "--input", *inputs)
    found = planned(capsys, "names", "--input", *inputs)
    compare(manifest, found)
    assert found["read_bytes"] == sizes_of(*inputs)
    assert found["files"] == files


@pytest.mark.slow
def test_names_in_many_pieces(tmp_path, capsys, monkeypatch):
    """A large input in small: many spans and shards, so that much of what is brought together is no rows."""
    monkeypatch.setattr(names, "BLOCK_BYTES", 20_000)
    source = tmp_path / "sep.txt"
    sample_names(str(source), rows=20_000)
    how = ["--input", source, "--span-bytes", 8_000]
    manifest = run(names, tmp_path / "out", *how)
    found = planned(capsys, "names", *how)
    assert found["shuffle_bytes"] == pytest.approx(manifest["used"]["shuffle_bytes"], rel=NEAR)
    assert found["overhead_bytes"] > 0.4 * found["shuffle_bytes"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_titles(tmp_path, capsys, kind):
    source = tmp_path / "titles.csv"
    sample_titles(str(source), rows=30_000)
    if kind == "parquet":
        import pyarrow.csv as pa_csv

        table = pa_csv.read_csv(source, parse_options=pa_csv.ParseOptions(newlines_in_values=True))
        source = tmp_path / "titles.parquet"
        pq.write_table(table, source, row_group_size=10_000)
    manifest = run(titles, tmp_path / "out", "--input", source)
    compare(manifest, planned(capsys, "titles", "--input", source))


@pytest.mark.slow
def test_titles_with_a_model(tmp_path, capsys):
    from molino.training.nnlm_export import export_nnlm

    source = tmp_path / "titles.csv"
    sample_titles(str(source), rows=20_000)
    words = ["celular", "mesa", "de", "32", "samsung", "negro"]
    vectors = np.random.default_rng(0).normal(size=(len(words) + 7, 50)).astype(np.float32)
    export_nnlm(str(tmp_path / "model"), words, vectors, buckets=7, normalization=True)
    how = ["--input", source, "--model", f"m={tmp_path / 'model'}"]
    manifest = run(titles, tmp_path / "out", *how)
    compare(manifest, planned(capsys, "titles", *how))


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--components", 8], ["--vector-type", "float16"]], ids=str)
def test_pca(tmp_path, capsys, more):
    numbers = np.random.default_rng(0).normal(size=(60_000, 64)).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1)), 64)
    pq.write_table(pa.table({"row": np.arange(len(numbers)), "v": column}), tmp_path / "v.parquet")
    how = ["--input", tmp_path / "v.parquet", "--column", "v", *more]
    manifest = run(pca, tmp_path / "out", *how)
    compare(manifest, planned(capsys, "pca", *how))


@pytest.mark.slow
def test_whales(tmp_path, capsys):
    sample_whales(str(tmp_path / "sea"), images=12, width=1500, height=1000)
    how = ["--input", tmp_path / "sea/images"]
    manifest = run(whales, tmp_path / "out", *how)
    found = planned(capsys, "whales", *how)
    compare(manifest, found, written=0.4)  # a crop is as large as what was found
    assert found["read_bytes"] == sizes_of(*(tmp_path / "sea/images").rglob("*.jpg"))


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--no-plots"]], ids=str)
def test_shapes(tmp_path, capsys, more):
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text("- problem: [circle, ring]\n  hidden: [3, 10]\n  batch: 100\n  steps: 50\n")
    how = ["--sweep", sweep, "--rows", 20_000, *more]
    manifest = run(shapes, tmp_path / "out", *how)
    compare(manifest, planned(capsys, "shapes", *how), written=0.25)


# --- the command


@pytest.fixture
def payroll(tmp_path):
    path = tmp_path / "sep.txt"
    sample_names(str(path), rows=2000)
    return path


def test_it_tells_and_writes_nothing(payroll, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert (
        cli.main(["plan", "names", "--input", str(payroll), "--output", str(tmp_path / "new"), "--workers", "2"]) == 0
    )
    lines = dict(line.strip().split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert {"rows", "people", "shuffle", "written", "disk", "memory", "widest stage", "time", "reserved"} <= set(lines)
    assert "cost" not in lines
    assert "free" in lines["disk"]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_machine_that_has_too_little_is_told(payroll, capsys, monkeypatch):
    words = ["plan", "names", "--input", str(payroll)]
    monkeypatch.setattr(machine, "cpu_share", lambda root="/": machine.Share(2, 64, "cgroup quota"))
    monkeypatch.setattr(machine, "memory_share", lambda root="/": machine.Share(10**12, 10**12))
    assert cli.main(words) == 0
    told = capsys.readouterr().out
    assert "2 of 64 cores: cgroup quota; 1e+03 GB of memory" in told
    assert " for 2" in told
    assert "would share" not in told
    assert "too little" not in told
    monkeypatch.setattr(machine, "memory_share", lambda root="/": machine.Share(10**8, 10**12, "cgroup limit"))
    assert cli.main([*words, "--workers", "3"]) == 0
    told = capsys.readouterr().out
    assert "note  3 workers would share 2 cores" in told
    assert re.search(r"memory  .* for 3; too little", told)
    assert cli.main([*words, "--workers", "3", "--runner", "FlinkRunner", "--parallelism", "3"]) == 0
    told = capsys.readouterr().out
    assert "machine" not in told
    assert "too little" not in told


def test_prices_give_a_cost(payroll, capsys):
    words = ["plan", "names", "--input", str(payroll), "--workers", "1"]
    assert cli.main([*words, "--price-core-hour", "2", "--price-gb-hour", "0"]) == 0
    lines = dict(line.strip().split("  ", 1) for line in capsys.readouterr().out.splitlines())
    hours = float(lines["reserved"].split()[0])
    assert float(lines["cost"].split(",")[0]) == pytest.approx(2 * hours, rel=0.01)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["names", "--input", "nowhere.txt"], 1, "there is no file nowhere.txt"),
        (["names", "--input", "{payroll}", "--spam"], 2, "no such option: --spam"),
        (["names", "--input", "{payroll}", "--runner", "FlinkRuner"], 2, "did you mean FlinkRunner?"),
        (["names", "--input", "{payroll}", "--price-core-hour", "-1"], 2, "must be a number from 0"),
        (["names", "--input", "{payroll}", "--curp-key-file", "k"], 2, "of no use without --curp hash"),
        (["titles", "--input", "{payroll}"], 1, "lacks the columns 'title', 'category'"),
        (["pca", "--input", "{payroll}", "--column", "v"], 1, "sep.txt"),
        (["shapes", "--sweep", "nowhere.yaml"], 1, "cannot read the sweep nowhere.yaml"),
        (["names", "--input", "{payroll}", "--runner", "FlinkRunner", "--parallelism", "0"], 2, "at least 1, not 0"),
        (["names", "--input", "{payroll}", "--runner", "DataflowRunner"], 2, "give a gs:// path"),
        (["names", "--input", "{payroll}", "--output", "ftp://h/x"], 2, "there is no file system for ftp://"),
        (["names", "--input", "{payroll}", "--price-core-hour", "much"], 2, "must be a number from 0, not much"),
        (["names", "--inptu", "{payroll}"], 2, "did you mean --input by --inptu?"),
        (["spam"], 2, "invalid choice: 'spam'"),
        (["--json", "names"], 2, "the job comes first"),
        ([], 2, "required: JOB"),
    ],
)
def test_what_is_wrong_is_told_as_the_job_tells_it(words, code, said, payroll, capsys):
    try:
        ended = cli.main(["plan", *(word.format(payroll=payroll) for word in words)])
    except SystemExit as stop:
        ended = stop.code
    told = capsys.readouterr().err
    assert ended == code
    assert said in told
    assert "Traceback" not in told


def test_workers_are_those_of_the_run(payroll, capsys):
    def workers(*flags, runner="FlinkRunner"):
        return planned(capsys, "names", "--input", payroll, "--runner", runner, *flags)["workers"]

    assert workers("--parallelism", "3") == 3
    assert workers("--workers", "4") == 4
    assert workers() == 1
    assert workers("--workers", "2", runner="embedded") == 2


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
    assert workers_of("DataflowRunner", flags, None) == workers


def test_an_output_that_is_taken(payroll, tmp_path, capsys):
    run(names, tmp_path / "out", "--input", payroll)
    words = ["plan", "names", "--input", str(payroll), "--output", str(tmp_path / "out")]
    assert cli.main(words) == 0
    assert cli.main([*words, "--min-count", "9"]) == 3
    assert "other options (min_count); add --overwrite" in capsys.readouterr().err
    assert cli.main([*words, "--min-count", "9", "--overwrite"]) == 0


def test_a_gzip_file_is_planned_as_its_text(payroll, tmp_path, capsys):
    (tmp_path / "sep.txt.gz").write_bytes(gzip.compress(payroll.read_bytes()))
    plain, packed = (planned(capsys, "names", "--input", path) for path in (payroll, tmp_path / "sep.txt.gz"))
    for what in ("rows", "read_bytes", "shuffle_bytes", "written_bytes"):
        assert packed[what] == pytest.approx(plain[what], rel=NEAR)


def test_help_teaches(capsys):
    for words, expected in ((["--help"], "molino plan shapes"), (["names", "--help"], "--price-core-hour")):
        with pytest.raises(SystemExit) as stop:
            cli.main(["plan", *words])
        assert stop.value.code == 0
        assert expected in capsys.readouterr().out


def test_a_runner_that_was_not_measured_has_no_time(payroll, capsys):
    assert cli.main(["plan", "names", "--input", str(payroll), "--runner", "SparkRunner", "--workers", "4"]) == 0
    lines = dict(line.strip().split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["time"].startswith("SparkRunner was not measured")
    assert "reserved" not in lines


def test_an_input_without_rows(tmp_path, capsys):
    path = tmp_path / "sep.txt"
    path.write_text("CURP|PRIMERAPELLIDO|SEGUNDOAPELLIDO|NOMBRESTRABAJADOR\n")
    found = planned(capsys, "names", "--input", path, "--allow-empty")
    assert found["rows"] == found["shuffle_bytes"] == 0


def test_the_report_compares_rows(payroll, tmp_path):
    manifest = run(names, tmp_path / "out", "--input", payroll)
    page = (tmp_path / "out/report.html").read_text()
    assert "Plan and fact" in page
    assert f"{manifest['plan']['rows']:,}" in page
    # what differs between runs of the same bytes stays out of it
    assert f"{manifest['plan']['seconds']:.2f}" not in page.split("Plan and fact")[1]
