"""Inputs that cannot be used: one line that says which and why, exit code 1, and the earlier output as it was."""

import gzip
import json
import os
import pathlib
import re
import resource
import warnings
import zipfile

import pytest

from molino.transforms.names.sample import sample_names
from tests.faults.fault_harness import (
    assert_complete,
    assert_failed,
    environment,
    is_untouched,
    manifest_of,
    molino,
    names,
    side_by_side,
    start,
    state_of,
)

pytestmark = pytest.mark.slow
HEADER = b"CURP|PRIMERAPELLIDO|SEGUNDOAPELLIDO|NOMBRESTRABAJADOR\n"
ROW = b"HEGG560427MVZRRL04|PEREZ|LOPEZ|ANA\n"


def too_many_rejects(folder):
    (folder / "r.txt").write_bytes(HEADER + ROW * 9 + b"odd\n")
    return folder / "r.txt", ["1 of 10 records", "too_few_fields 1", "--max-reject-ratio"]


def no_file(folder):
    return folder / "nothing.txt", ["there is no file", "nothing.txt"]


def folder_of_nothing(folder):
    (folder / "empty/_hidden").mkdir(parents=True)
    return folder / "empty", ["the folder", "empty holds nothing to read; skipped hidden files and folders: 1"]


def no_match(folder):
    return folder / "*.nope", ["no file matches", "*.nope"]


def content(name, data, *words):
    def make(folder):
        (folder / name).write_bytes(data)
        return folder / name, [name, *words]

    return make


def bad_zip(folder):
    with zipfile.ZipFile(folder / "z.zip", "w") as archive:
        archive.writestr("a.txt", HEADER + ROW * 100)
    data = bytearray((folder / "z.zip").read_bytes())
    data[60] ^= 255
    (folder / "z.zip").write_bytes(data)
    return folder / "z.zip", ["z.zip", "fetch it again"]


def secret_zip(folder):
    with zipfile.ZipFile(folder / "s.zip", "w") as archive:
        archive.writestr("a.txt", HEADER + ROW)
    data = bytearray((folder / "s.zip").read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (folder / "s.zip").write_bytes(data)
    return folder / "s.zip", ["s.zip", "a.txt", "encrypted"]


def twins_in_a_zip(folder):
    with warnings.catch_warnings(), zipfile.ZipFile(folder / "t.zip", "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("a.txt", HEADER + ROW)
        archive.writestr("a.txt", HEADER + ROW.replace(b"ANA", b"EVA"))
    return folder / "t.zip", ["t.zip", "two members", "a.txt", "rename"]


def a_name_of_odd_bytes(folder):
    name = os.fsdecode(b"bad\xff.txt")
    (folder / name).write_bytes(HEADER + ROW)
    return folder / name, ["not UTF-8", "rename the file"]


CASES = {
    "no file": no_file,
    "no match": no_match,
    "folder": folder_of_nothing,
    "no column": content("c.txt", HEADER.replace(b"CURP", b"CUPR") + ROW, "lacks the column 'CURP'", "'CUPR'"),
    "two columns": content(
        "c.txt", HEADER.replace(b"SEGUNDO", b"PRIMER") + ROW, "more than one column 'PRIMERAPELLIDO'"
    ),
    "empty": content("e.txt", b"", "holds any records", "--allow-empty"),
    "header only": content("h.txt", HEADER, "holds any records", "--allow-empty"),
    "picture": content("p.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0", "a PNG picture"),
    "binary": content("b.txt", bytes(range(256)) * 99, "header"),
    "UTF-16": content("u.txt", (HEADER + ROW).decode().encode("utf-16"), "UTF-16", "iconv"),
    "cut gzip": content("g.gz", gzip.compress(HEADER + ROW * 9999)[:-20], "cut short"),
    "damaged gzip": content("d.gz", gzip.compress(HEADER)[:12] + b"x" * 50, "damaged"),
    "damaged zip": bad_zip,
    "encrypted zip": secret_zip,
    "twins in a zip": twins_in_a_zip,
    "odd bytes": a_name_of_odd_bytes,
    "other delimiter": content("o.txt", (HEADER + ROW).replace(b"|", b"^"), "lacks the column", "--delimiter"),
    "too many rejects": too_many_rejects,
}


@pytest.fixture(scope="module")
def attempts(tmp_path_factory, undisturbed_other):
    """Run the job on every case, over one earlier output; {case: (ended, words)}."""
    made = {}
    for case, make in CASES.items():
        folder = tmp_path_factory.mktemp("case")
        made[case] = make(folder)
    before = state_of(undisturbed_other)
    # one after the other: the lock keeps two out of one output
    ended = [names(source, undisturbed_other, "--overwrite") for source, _ in made.values()]
    assert state_of(undisturbed_other) == before
    return {case: (end, made[case][1]) for case, end in zip(made, ended, strict=True)}


@pytest.mark.parametrize("case", CASES)
def test_one_line_says_what_is_wrong(case, attempts):
    ended, words = attempts[case]
    assert_failed(ended, 1, *words)
    assert len(ended.err.strip().splitlines()) == 1
    assert ended.out == ""


def test_the_earlier_output_is_untouched(attempts, undisturbed_other):
    assert attempts
    assert_complete(undisturbed_other, like=undisturbed_other)


def test_the_limit_of_rejects_is_exact(tmp_path):
    (tmp_path / "in.txt").write_bytes(HEADER + ROW * 9 + b"odd\n")
    assert names(tmp_path / "in.txt", tmp_path / "out", "--max-reject-ratio", 0.1).code == 0
    assert_failed(names(tmp_path / "in.txt", tmp_path / "no", "--max-reject-ratio", 0.0999), 1, "1 of 10")
    assert is_untouched(tmp_path / "no")


def test_empty_inputs_are_warned_of(sample, tmp_path):
    (tmp_path / "empty.txt").write_bytes(HEADER)
    alone, beside = side_by_side(
        [
            lambda: names(tmp_path / "empty.txt", tmp_path / "alone", "--allow-empty"),
            lambda: names([tmp_path / "empty.txt", sample], tmp_path / "beside"),
        ]
    )
    assert (alone.code, beside.code) == (0, 0)
    assert [d["rows"] for d in manifest_of(tmp_path / "alone")["datasets"].values()] == [0] * 6
    for output in ("alone", "beside"):
        [warning] = manifest_of(tmp_path / output)["warnings"]
        assert warning["kind"] == "input.empty"
        assert "empty.txt" in warning["example"]
    assert re.search(r"without a record; \S*empty.txt", beside.err)


def test_a_line_of_100_mb_is_a_reject_in_bounded_memory(tmp_path):
    path = tmp_path / "long.txt"
    with path.open("wb") as file:
        file.write(HEADER + ROW)
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b"\n" + ROW)
    process = start("names", "--input", path, "--output", tmp_path / "out", "--quiet", "--max-reject-ratio", 1)
    peak = 0
    while process.poll() is None:
        try:
            text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            status = dict(line.split(":", 1) for line in text.splitlines())
            peak = max(peak, int(status.get("VmHWM", "0 kB").split()[0]))
        except (OSError, ValueError):
            break
    process.communicate()
    assert process.returncode == 0
    counters = manifest_of(tmp_path / "out")["counters"]
    assert (counters["rows_read"], counters["rejects.line_too_long"], counters["people"]) == (3, 1, 1)
    assert peak < 450_000  # kB; without any data it is about 250,000


def test_a_full_disk_is_one_line(sample, finished_other):
    before = state_of(finished_other)

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    ended = names(sample, finished_other, "--overwrite", preexec_fn=small_files)
    assert_failed(ended, 1, "cannot write", str(finished_other), "ulimit -f")
    assert state_of(finished_other) == before


def test_an_output_that_cannot_be_is_refused_before_the_input_is_read(sample, tmp_path):
    (tmp_path / "file").write_text("mine")
    for output in (tmp_path / "file", tmp_path / "file/below"):
        assert_failed(names(sample, output), 1, str(tmp_path / "file"), "folder")
    assert (tmp_path / "file").read_text() == "mine"


def test_an_input_that_changes_is_noticed(sample, tmp_path):
    (tmp_path / "in.txt").write_bytes(sample.read_bytes())
    process = start("names", "--input", tmp_path / "in.txt", "--output", tmp_path / "out", "--quiet")
    while not (tmp_path / "out/_lock").exists():
        assert process.poll() is None
    with (tmp_path / "in.txt").open("ab") as file:
        file.write(ROW)
    _, err = process.communicate()
    assert process.returncode == 1
    assert "in.txt" in err.decode()
    assert "run again when it is complete" in err.decode()
    assert not (tmp_path / "out/_manifest.json").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--max-shards", 3], ["--max-shards", "did you mean --shards"]),
        (["--min-cuont", 3], ["did you mean --min-count"]),
        (["--over"], ["--over", "--overwrite"]),
        (["--input", "other"], ["--input is given twice; name all after one"]),
        (["--workers", 1, "--workers", 2], ["--workers is given twice"]),
        (["--runer", "x"], ["did you mean --runner"]),
        (["--runner", "PrismRuner"], ["did you mean PrismRunner"]),
        (["--min-count", 0], ["--min-count", "at least 1"]),
        (["--max-reject-ratio", 2], ["from 0 to 1"]),
        (["--encoding", "utf-16"], ["utf-16"]),
        (["--delimiter", "||"], ["delimiter"]),
        (["--reference-year", 40000], ["1900 to 2199"]),
        (["--curp", "hash"], ["secret key", "openssl"]),
        (["--curp-key-file", "x"], ["--curp hash"]),
        (["--direct_num_workers", 3], ["--workers"]),
        (["--workers", 100000], ["at most 256"]),
        (["--max-line-bytes", 10**10], ["at most"]),
        (["--output", ""], ["--output", "must not be empty"]),
        (["stray"], ["stray"]),
    ],
    ids=str,
)
def test_a_wrong_command_line_is_one_line_and_2(options, words, sample, tmp_path):
    arguments = ["--input", sample, "--output", tmp_path / "out"]
    ended = (
        names(sample, tmp_path / "out", *options)
        if options != ["stray"]
        else names([sample], tmp_path / "out", "--shards", 1, "stray")
    )
    assert arguments
    assert_failed(ended, 2, *words)
    assert not (tmp_path / "out").exists()


def test_what_differs_from_a_finished_run_is_named(finished, tmp_path):
    sample_names(str(tmp_path / "more.txt"), rows=30_000)
    assert_failed(names(tmp_path / "more.txt", finished), 3, "more.txt is new); add --overwrite")
    ended = names(tmp_path / "more.txt", finished, "--curp", "drop", "--shards", 3)
    assert_failed(ended, 3, "with other inputs (", ' and options (curp "drop", was "keep"); add --overwrite')
    ended = molino("sample", "names", "--rows", 10, "--output", finished / "x.txt", env=environment())
    assert_failed(ended, 3, "holds a finished run; write elsewhere")


def test_a_store_with_one_slash_is_no_folder_here(sample, tmp_path):
    ended = molino("names", "--input", sample, "--output", "s3:/bucket/out", cwd=tmp_path, env=environment())
    assert_failed(ended, 2, "--output: s3:/bucket/out lacks a slash; write s3://bucket/out")
    ended = molino("names", "--input", "gs:/bucket/in", "--output", "out", cwd=tmp_path, env=environment())
    assert_failed(ended, 2, "--input: gs:/bucket/in lacks a slash; write gs://bucket/in")
    ended = molino("sample", "names", "--output", "s3:/bucket/x", cwd=tmp_path, env=environment())
    assert_failed(ended, 2, "--output: s3:/bucket/x lacks a slash")
    ended = molino("train", "titles", "--input", "x", "--output", "s3:/bucket/x", cwd=tmp_path, env=environment())
    assert_failed(ended, 2, "--output: s3:/bucket/x lacks a slash")


def test_a_tilde_that_no_shell_has_read_makes_no_folder(sample, tmp_path):
    """As in --output=~/out, or in a file of variables."""
    said = "the shell did not expand the ~"
    assert_failed(names(sample, "~/out", cwd=tmp_path), 2, said, "write the home folder in full")
    assert_failed(molino("sample", "names", "--output", "~/out.txt", cwd=tmp_path), 2, said)
    assert_failed(molino("train", "titles", "--input", "run", "--output", "~/out", cwd=tmp_path), 2, said)
    assert list(tmp_path.iterdir()) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sample", "names", "--output", "x", "--sed", "3"], "did you mean --seed?"),
        (["doctor", "--runer", "x"], "did you mean --runner?"),
        (["verify", "x", "--strict"], "no such option: --strict"),
    ],
)
def test_other_commands_name_the_nearest_option(words, told, tmp_path):
    ended = molino(*words, cwd=tmp_path, env=environment())
    assert_failed(ended, 2, told)
    assert not list(tmp_path.iterdir())


def test_prism_that_is_not_there_is_one_line(sample, tmp_path):
    ended = names(sample, tmp_path / "out", "--runner", "PrismRunner", "--prism_location", "no-such-prism")
    assert_failed(ended, 2, "there is no program no-such-prism; molino doctor")


def test_a_runner_that_lacks_its_options_is_one_line(sample, tmp_path):
    ended = names(sample, tmp_path / "out", "--runner", "DataflowRunner")
    assert_failed(ended, 2, "molino:")
    assert len(ended.err.strip().splitlines()) == 1


def test_an_unreadable_manifest_is_left_and_named(finished, sample):
    (finished / "_manifest.json").write_text("{")
    before = state_of(finished)
    assert_failed(names(sample, finished, "--overwrite"), 3, "is not a manifest of this program; move it away")
    assert state_of(finished) == before


def test_options_of_beam_are_taken(sample, tmp_path):
    assert names(sample, tmp_path / "out", "--job_name", "x", "--no_pipeline_type_check").code == 0


def test_a_manifest_that_leads_elsewhere_is_not_followed(finished, sample, tmp_path):
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    manifest = json.loads((finished / "_manifest.json").read_text())
    manifest["views"].append({"path": "../victim.txt", "bytes": 0, "sha256": ""})
    (finished / "_manifest.json").write_text(json.dumps(manifest))
    assert_failed(names(sample, finished, "--overwrite", "--min-count", 2), 3, "../victim.txt", "do not trust")
    assert victim.read_text() == "mine"


def test_a_damaged_output_is_mended_by_the_same_command(finished, sample, undisturbed):
    for path in (finished / "people").iterdir():
        path.unlink()
    (finished / "hombres.csv").write_text("odd")
    assert names(sample, finished).code == 0
    assert_complete(finished, like=undisturbed)
