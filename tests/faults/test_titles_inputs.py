"""The titles job and inputs and models that cannot be used: one line says why, and the earlier output stays."""

import gzip
import io
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.faults.fault_harness import assert_complete, assert_failed, manifest_of, state_of, titles

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
HEADER = b"title,label_quality,language,category\n"
ROW = b"Mesa De Luz,reliable,spanish,LAMPS\n"


def content(name, data, *words):
    def make(folder, model):
        (folder / name).write_bytes(data)
        return [folder / name], model, [], [name, *words]

    return make


def rejected(line, reason):
    def make(folder, model):
        (folder / "r.csv").write_bytes(HEADER + ROW * 9 + line)
        ask = ["is --encoding right?"] if reason == "bad_encoding" else []
        return [folder / "r.csv"], model, [], ["1 of 10 records", f"{reason} 1", "--max-reject-ratio", *ask]

    return make


def parquet(words, **columns):
    def make(folder, model):
        pq.write_table(pa.table(columns), folder / "t.parquet")
        return [folder / "t.parquet"], model, [], words

    return make


def good(folder):
    (folder / "good.csv").write_bytes(HEADER + ROW * 3)
    return [folder / "good.csv"]


def no_model(folder, model):
    return good(folder), folder / "nothing", [], ["there is no model", "nothing", "archive"]


def no_saved_model(folder, model):
    (folder / "empty").mkdir()
    return good(folder), folder / "empty", [], ["empty", "saved_model.pb"]


def other_digest(folder, model):
    return good(folder), model, ["--model-sha256", "m=" + "0" * 64], ["sha256", "0" * 12]


def other_signature(folder, model):
    program = f"""
import tensorflow as tf
class Twice(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def __call__(self, x): return x * 2
tf.saved_model.save(Twice(), {str(folder / "twice")!r})
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    return good(folder), folder / "twice", [], ["twice"]


def damaged_archive(folder, model):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(model, ".")
    (folder / "m.tar.gz").write_bytes(packed.getvalue()[:-2000])
    return good(folder), folder / "m.tar.gz", [], ["m.tar.gz"]


def archive_of_something_else(folder, model):
    with zipfile.ZipFile(folder / "m.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    return good(folder), folder / "m.zip", [], ["m.zip", "saved_model.pb"]


def damaged_model(folder, model):
    shutil.copytree(model, folder / "bad")
    (folder / "bad/saved_model.pb").write_bytes(b"\0" * 100)
    return good(folder), folder / "bad", [], ["bad"]


CASES = {
    "no column": content("c.csv", HEADER.replace(b"title", b"titel") + ROW, "lacks the column 'title'", "'titel'"),
    "two columns": content("c.csv", HEADER.replace(b"language", b"title") + ROW, "more than one column 'title'"),
    "no category": content("c.csv", b"title\nMesa\n", "lacks the column 'category'"),
    "picture": content("p.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0", "a PNG picture"),
    "binary": content("b.csv", bytes(range(256)) * 99, "header"),
    "UTF-16": content("u.csv", (HEADER + ROW).decode().encode("utf-16"), "UTF-16", "iconv"),
    "header not UTF-8": content("h.csv", HEADER[:-1] + b",a\xf1o\n" + ROW, "not utf-8", "--encoding"),
    "empty": content("e.csv", b"", "holds any records", "--allow-empty"),
    "broken quotes": rejected(b'"a"b,c,d,e\n', "bad_quoting"),
    "open quote": rejected(b'"a,b,c,d\n', "unclosed_quote"),
    "not UTF-8": rejected(b"Sof\xe1,,,SOFAS\n", "bad_encoding"),
    "titles without category": rejected(b"Mesa,,,\n", "no_category"),
    "cut gzip": content("g.gz", gzip.compress(HEADER + ROW * 9999)[:-20], "cut short"),
    "cut Parquet": content("t.parquet", b"PAR1" + b"\0" * 99, "a truncated Parquet file"),
    "Parquet without column": parquet(["t.parquet", "lacks the column 'category'"], title=["a"]),
    "Parquet of numbers": parquet(["t.parquet", "'title' is int64, not text"], title=[1], category=["a"]),
    "Parquet with nulls": parquet(["1 of 2", "null_value 1"], title=["a", None], category=["A", "A"]),
    "no model": no_model,
    "no SavedModel": no_saved_model,
    "other digest": other_digest,
    "other signature": other_signature,
    "damaged archive": damaged_archive,
    "archive of something else": archive_of_something_else,
    "damaged model": damaged_model,
}


@pytest.fixture(scope="module")
def attempts(tmp_path_factory, model, undisturbed_titles):
    """Run the job on every case, over one earlier output; {case: (ended, words)}."""
    made = {case: make(tmp_path_factory.mktemp("case"), model) for case, make in CASES.items()}
    before = state_of(undisturbed_titles)
    calls = [lambda m=m: titles(m[0], undisturbed_titles, m[1], "--overwrite", *m[2]) for m in made.values()]
    ended = [call() for call in calls]  # one after the other: the lock keeps two out of one output
    assert state_of(undisturbed_titles) == before
    return {case: (end, made[case][3]) for case, end in zip(made, ended, strict=True)}


@pytest.mark.parametrize("case", CASES)
def test_one_line_says_what_is_wrong(case, attempts):
    ended, words = attempts[case]
    assert_failed(ended, 1, *words)
    assert len([line for line in ended.err.strip().splitlines() if not line.startswith("molino: warning: ")]) == 1
    assert ended.out == ""


def test_the_earlier_output_is_untouched(attempts, undisturbed_titles):
    assert attempts
    assert_complete(undisturbed_titles, like=undisturbed_titles)


def test_bad_rows_are_in_the_rejects(undisturbed_titles):
    [file] = manifest_of(undisturbed_titles)["datasets"]["rejects"]["files"]
    rejects = pq.read_table(undisturbed_titles / file["path"]).to_pylist()
    assert [row["line"] for row in rejects] == sorted(row["line"] for row in rejects)
    assert {row["reason"] for row in rejects} == {
        "too_few_fields", "too_many_fields", "empty_line", "bad_quoting", "unclosed_quote", "bad_encoding", "nul_byte",
        "line_too_long", "no_category",
    }  # fmt: skip
