import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molino.training import runs
from molino.training.runs import (
    ChangedFileError,
    MissingFileError,
    OutsideError,
    RunError,
    UnfinishedError,
    VersionError,
    one_line_errors,
    open_run,
)
from tests.training.made_run import ROWS, make_rows, measured, publish, write_run

ASKED = {"rows": ("made.rows", 1)}


def manifest_of(folder):
    return json.loads((folder / "_manifest.json").read_text())


def shard(folder, number):
    return folder / manifest_of(folder)["datasets"]["rows"]["files"][number]["path"]


def flip_byte(path, place=200):
    """Change a byte and nothing that a listing shows."""
    before, data = path.stat(), bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_finished_run_opens(run_folder):
    run = open_run(run_folder, ASKED)
    assert run.datasets["rows"].rows == (40, 0, 25, 61)
    assert run.datasets["rows"].schema.equals(ROWS)
    assert run.view("report.html") == b"<p>made up</p>"
    assert run.manifest["job"] == "made"
    assert len(run.sha256) == 64


def test_what_a_job_wrote_opens(tmp_path):
    from molino.jobs import names
    from molino.transforms.names.sample import sample_names

    sample_names(str(tmp_path / "sep.txt"), rows=500)
    options = ["--runner", "embedded", "--workers", "1", "--quiet"]
    assert names.JOB.main(["--input", str(tmp_path / "sep.txt"), "--output", str(tmp_path / "out"), *options]) == 0
    run = open_run(tmp_path / "out", {"people": ("names.people", 1), "apellidos": None})
    assert sum(run.datasets["people"].rows) == run.manifest["counters"]["people"] > 400
    assert run.view("report.html").startswith(b"<!")


def test_a_uri_is_a_run_too(run_folder):
    assert open_run(f"file://{run_folder}", ASKED).datasets["rows"].rows == (40, 0, 25, 61)


def test_no_folder(tmp_path):
    with pytest.raises(RunError, match=f"there is no folder {tmp_path}/nothing"):
        open_run(tmp_path / "nothing", ASKED)


@pytest.mark.parametrize("missing", ["_manifest.json", "_SUCCESS"])
def test_a_run_without_its_end_is_refused(run_folder, missing):
    (run_folder / missing).unlink()
    with pytest.raises(UnfinishedError, match=f"there is no {missing}"):
        open_run(run_folder, ASKED)


def test_success_of_another_manifest_is_refused(run_folder):
    with (run_folder / "_manifest.json").open("a") as file:
        file.write("\n")
    with pytest.raises(UnfinishedError, match="_SUCCESS names another manifest"):
        open_run(run_folder, ASKED)


@pytest.mark.parametrize("before", [False, True], ids=["first", "remembered"])
def test_a_changed_byte_is_found_and_named(run_folder, before):
    if before:
        open_run(run_folder, ASKED)
    flip_byte(shard(run_folder, 2))
    with pytest.raises(ChangedFileError, match=r"part-00002-of-00004-0123abcd\.parquet changed .*\(sha256\)"):
        open_run(run_folder, ASKED)


def test_verify_can_be_left_out(run_folder):
    flip_byte(shard(run_folder, 2))
    assert open_run(run_folder, ASKED, verify=False).datasets["rows"].rows == (40, 0, 25, 61)


def test_a_missing_shard_is_named(run_folder):
    shard(run_folder, 2).unlink()
    with pytest.raises(MissingFileError, match=r"part-00002-of-00004-0123abcd\.parquet is missing"):
        open_run(run_folder, ASKED)


def test_a_run_that_is_replaced_meanwhile_is_read_as_it_then_is(run_folder, monkeypatch):
    real = runs.open_dataset  # between the manifest and the data, which takes no other way

    def replaced(run, name, expected):
        monkeypatch.setattr(runs, "open_dataset", real)
        shard(run_folder, 0).unlink()
        write_run(run_folder, shards=(10, 20))
        return real(run, name, expected)

    monkeypatch.setattr(runs, "open_dataset", replaced)
    assert open_run(run_folder, ASKED).datasets["rows"].rows == (10, 20)


def test_a_shard_cut_short_is_named(run_folder):
    path = shard(run_folder, 3)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ChangedFileError, match=r"part-00003-of.* bytes, .* were written"):
        open_run(run_folder, ASKED)


def test_bytes_that_are_no_parquet_are_named(run_folder):
    manifest = manifest_of(run_folder)
    entry = manifest["datasets"]["rows"]["files"][0]
    (run_folder / entry["path"]).write_bytes(b"PAR1 and nothing more PAR1")
    entry.update(measured(run_folder / entry["path"]))
    publish(run_folder, manifest)
    with pytest.raises(ChangedFileError, match=r"part-00000-of.* is not readable as Parquet"):
        open_run(run_folder, ASKED)


def test_another_version_is_refused_and_both_are_named(run_folder):
    with pytest.raises(VersionError, match=r"rows of .* schema made.rows version 1, .* reads made.rows version 2"):
        open_run(run_folder, {"rows": ("made.rows", 2)})


def test_a_footer_of_another_version_is_refused(run_folder):
    manifest = manifest_of(run_folder)
    manifest["datasets"]["rows"]["version"] = 2
    publish(run_folder, manifest)
    with pytest.raises(
        VersionError, match=r"part-00000-of.*made.rows version 1, the manifest says made.rows version 2"
    ):
        open_run(run_folder, {"rows": None})


def test_a_manifest_of_another_format_is_refused(run_folder):
    publish(run_folder, {**manifest_of(run_folder), "format": 2})
    with pytest.raises(VersionError, match="has format 2, this program reads format 1"):
        open_run(run_folder, ASKED)


def test_a_shard_with_other_columns_is_refused(run_folder):
    manifest = manifest_of(run_folder)
    entry = manifest["datasets"]["rows"]["files"][3]
    rows = make_rows(0, entry["rows"])
    table = rows.set_column(1, pa.field("title", pa.large_string()), rows["title"].cast(pa.large_string()))
    pq.write_table(table.replace_schema_metadata(ROWS.metadata), run_folder / entry["path"])
    entry.update(measured(run_folder / entry["path"]))
    publish(run_folder, manifest)
    with pytest.raises(VersionError, match=r"part-00003-of.* has other columns than .*part-00000-of"):
        open_run(run_folder, ASKED)


def test_rows_that_do_not_add_up_are_refused(run_folder):
    manifest = manifest_of(run_folder)
    manifest["datasets"]["rows"]["rows"] += 1
    publish(run_folder, manifest)
    with pytest.raises(RunError, match="do not have 127 rows together"):
        open_run(run_folder, ASKED)


@pytest.mark.parametrize("path", ["../rows.parquet", "/etc/passwd", "rows/../../x", "rows//x", "rows\\x", ""])
def test_a_path_out_of_the_folder_is_refused(run_folder, path):
    manifest = manifest_of(run_folder)
    manifest["datasets"]["rows"]["files"][1]["path"] = path
    publish(run_folder, manifest)
    with pytest.raises(OutsideError, match="leads out of the output"):
        open_run(run_folder, ASKED)


def test_a_link_out_of_the_folder_is_refused(run_folder, tmp_path):
    path = shard(run_folder, 0)
    path.rename(tmp_path / "elsewhere.parquet")
    path.symlink_to(tmp_path / "elsewhere.parquet")
    with pytest.raises(OutsideError, match="is a link that leads out of the run"):
        open_run(run_folder, ASKED)


def test_a_run_behind_a_link_opens(run_folder, tmp_path):
    (tmp_path / "latest").symlink_to(run_folder)
    assert open_run(tmp_path / "latest", ASKED).datasets["rows"].rows == (40, 0, 25, 61)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "datasets": [], "views": []}'])
def test_what_is_no_manifest_is_refused(run_folder, text):
    publish(run_folder, {})
    (run_folder / "_manifest.json").write_text(text)
    (run_folder / "_SUCCESS").write_text(measured(run_folder / "_manifest.json")["sha256"])
    with pytest.raises(RunError, match="is not a manifest of this program"):
        open_run(run_folder, ASKED)


def test_a_data_set_that_is_not_listed(run_folder):
    with pytest.raises(RunError, match="has no data set titles; it has: rows"):
        open_run(run_folder, {"titles": None})


def test_a_view_is_compared_with_the_manifest(run_folder):
    run = open_run(run_folder, ASKED)
    with pytest.raises(MissingFileError, match=r"lists no view other.html; it has: report.html"):
        run.view("other.html")
    flip_byte(run_folder / "report.html", place=3)
    with pytest.raises(ChangedFileError, match=r"report.html is not what was written"):
        run.view("report.html")


def test_a_missing_account_is_said_and_not_what_the_client_says():
    told = "Retry policy exhausted, with a last message of Could not create a OAuth2 access token to authenticate"
    wanted = "cannot read gs://b/run: no account of Google is known .*GOOGLE_APPLICATION_CREDENTIALS"
    with pytest.raises(RunError, match=wanted), one_line_errors("gs://b/run"):
        raise OSError(told)
