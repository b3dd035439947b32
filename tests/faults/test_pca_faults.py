"""The pca job, disturbed: bad inputs, kills, and every way to run that must not matter."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molino.jobs.run import recheck
from molino.transforms.manifest import STAGING
from molino.transforms.pca.sample import sample_vectors
from tests.faults.fault_harness import (
    ANOTHER_USERS,
    assert_complete,
    assert_failed,
    bytes_of,
    end,
    environment,
    manifest_of,
    molino,
    side_by_side,
    start,
    state_of,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
# so that a small file has many spans, and a tree to add them up
SMALL_SPANS = """
import molino.transforms.pca.read_vectors
molino.transforms.pca.read_vectors.LEAST_BYTES = 10_000
molino.transforms.pca.read_vectors.SPANS = 1000
"""
NAN, INF = float("nan"), float("inf")


def pca(source, output, *options, **how):
    """Run the job on a file, or on a list of them."""
    sources = source if isinstance(source, (list, tuple)) else [source]
    return molino("pca", "--input", *sources, "--column", "vector", "--output", output, "--quiet", *options, **how)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """6,000 vectors of 5 numbers of which one depends on the others, in row groups of 200, and 5 bad rows."""
    folder = tmp_path_factory.mktemp("vectors")
    sample_vectors(str(folder / "all"), rows=6000, numbers=5, seed=1, hostile=True)
    rows = pq.read_table(folder / "all").to_pylist()
    for row in rows[:6000]:
        row["vector"][4] = row["vector"][0] + row["vector"][1]
    type_ = pa.list_(pa.float64())
    table = pa.table({"id": [row["id"] for row in rows], "vector": pa.array([row["vector"] for row in rows], type_)})
    pq.write_table(table, folder / "v.parquet", row_group_size=200)
    return folder / "v.parquet"


@pytest.fixture(scope="module")
def undisturbed_pca(source, tmp_path_factory):
    """The output of a run that nothing disturbed; never to be changed."""
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    ended = pca(source, output)
    assert ended.code == 0, ended.err
    return output


@pytest.fixture
def finished(undisturbed_pca, tmp_path):
    """A copy of the undisturbed output."""
    return shutil.copytree(undisturbed_pca, tmp_path / "out")


# --- inputs that cannot be used


def rows_of(values, *words, type_=None, options=()):
    def make(folder):
        column = pa.array(values, type_ or pa.list_(pa.float64(), 2))
        pq.write_table(pa.table({"vector": column}), folder / "v.parquet")
        return folder / "v.parquet", options, words

    return make


def content(data, *words):
    def make(folder):
        (folder / "v.parquet").write_bytes(data)
        return folder / "v.parquet", (), ["v.parquet", *words]

    return make


def cut_short(folder):
    pq.write_table(pa.table({"vector": pa.array(np.ones((99, 2)).tolist(), pa.list_(pa.float64(), 2))}), folder / "w")
    data = (folder / "w").read_bytes()
    (folder / "v.parquet").write_bytes(data[:200] + bytes(100) + data[300:])
    return folder / "v.parquet", (), ["v.parquet", "damaged Parquet"]


def two_kinds(folder):
    for name, size in (("a", 2), ("b", 3)):
        column = pa.array([[1.0] * size], pa.list_(pa.float64(), size))
        pq.write_table(pa.table({"vector": column}), folder / f"{name}.parquet")
    return [folder / "a.parquet", folder / "b.parquet"], (), ["b.parquet has other columns", "'vector' is"]


def not_carried(folder):
    pq.write_table(pa.table({"vector": GOOD, "null": pa.nulls(9)}), folder / "v.parquet")
    return folder / "v.parquet", (), ["the column 'null' is null, which is not carried along", "--drop null"]


def two_formats(folder):
    pq.write_table(pa.table({"vector": [1.0]}), folder / "a.parquet")
    (folder / "b.csv").write_text("vector\n1\n")
    return [folder / "a.parquet", folder / "b.csv"], (), ["b.csv is no Parquet file", "give files of one kind"]


def unfinished_run(folder):
    (folder / "run").mkdir()
    (folder / "run/_manifest.json").write_text("{}")
    return folder / "run", (), ["is not a manifest"]


GOOD = [[1.0, 2.0]] * 9
CASES = {
    "no such column": content(b"a,b\n1,2\n", "has no column 'vector'; it has: a, b"),
    "lists as text": content(b'vector,w\n"[1,2]",1\n', "the column 'vector' holds lists as text; make Parquet"),
    "two delimiters": content(b"vector;w,x\n1;2,3\n", "its delimiter may be", "--delimiter ';'"),
    "encrypted Parquet": content(b"PARE" + bytes(99), "is an encrypted Parquet file", "decrypt it first"),
    "Arrow": content(b"ARROW1" + bytes(99), "is an Arrow IPC (Feather) file", "convert it to Parquet"),
    "bzip2": content(b"BZh9" + bytes(99), "is compressed by bzip2", "bunzip2 -k"),
    "texts of no numbers": content(b"vector\n1,5\n" + b"x\n" * 9, "too_many_fields 1", "no_number 9"),
    "cut footer": content(b"PAR1" + bytes(99), "a truncated Parquet file"),
    "bytes changed": cut_short,
    "empty": rows_of([], "holds any rows", "--allow-empty"),
    "dates": rows_of([1, 2], "'vector' is date32", "--column takes", type_=pa.date32()),
    "strings": rows_of([["a"]], "'vector' is list<", "--column takes", type_=pa.list_(pa.string())),
    "not carried": not_carried,
    "two kinds of inputs": two_formats,
    "only nulls": rows_of([None, None], "holds no vector", type_=pa.list_(pa.float64())),
    "a null": rows_of([*GOOD, None], "1 of 10 records", "null_vector 1", "--max-reject-ratio"),
    "a null number": rows_of([*GOOD, [1.0, None]], "null_number 1"),
    "NaN": rows_of([*GOOD, [NAN, 1.0]], "not_a_number 1"),
    "infinity": rows_of([*GOOD, [1.0, -INF]], "infinite 1"),
    "another length": rows_of([*GOOD, [1.0]], "wrong_length 1", type_=pa.list_(pa.float64())),
    "too large for float16": rows_of(
        [[1e9, 1.0]], "float16 cannot hold", "--vector-type", options=("--vector-type", "float16")
    ),
    "no label": rows_of(GOOD, "no column 'title'", options=("--label-column", "title")),
    "nothing against": rows_of(GOOD, "no column 'w'", options=("--against", "w")),
    "centred within an error": rows_of(
        [[5.0 + n % 3, 5.0] for n in range(20)],
        "no number of components",
        "--center",
        options=("--center", "--max-cosine-error", "0.001"),
    ),
    "two kinds of files": two_kinds,
    "no run": unfinished_run,
}


@pytest.fixture(scope="module")
def attempts(tmp_path_factory, undisturbed_pca):
    """Run the job on every case, over one earlier output; {case: (ended, words)}."""
    made = {case: make(tmp_path_factory.mktemp("case")) for case, make in CASES.items()}
    before = state_of(undisturbed_pca)
    ended = {case: pca(m[0], undisturbed_pca, "--overwrite", *m[1]) for case, m in made.items()}
    assert state_of(undisturbed_pca) == before
    return {case: (ended[case], made[case][2]) for case in made}


@pytest.mark.parametrize("case", CASES)
def test_one_line_says_what_is_wrong(case, attempts):
    ended, words = attempts[case]
    assert_failed(ended, 1, *words)
    assert len(ended.err.strip().splitlines()) == 1
    assert ended.out == ""


def test_the_earlier_output_is_untouched(attempts, undisturbed_pca):
    assert attempts
    assert_complete(undisturbed_pca, like=undisturbed_pca)


# --- kills

# workers that take their time at rotating, so that the run can be stopped between two row groups
SLOW = """
import time
import molino.transforms.pca.rotate

def slowly(*arguments):
    time.sleep(60)
    return whole(*arguments)

whole, molino.transforms.pca.rotate.to_lists = molino.transforms.pca.rotate.to_lists, slowly
"""


def test_a_kill_in_mid_run_leaves_the_earlier_output(source, finished, tmp_path):
    """In threads; of worker processes see test_titles_faults.py."""
    other = shutil.copytree(finished, tmp_path / "other")
    process = start(
        *("pca", "--input", source, "--column", "vector", "--output", finished, "--overwrite", "--seed", 2),
        *("--worker-mode", "threads", "--workers", 2, "--quiet"),
        env=environment(tmp_path, SLOW),
    )
    # components are staged by the side of the rotation, which never ends
    wait_until(lambda: list((finished / STAGING).rglob("components/*.parquet")), process, 120)
    process.kill()
    assert end(process).code == -9
    manifest, _ = recheck.verify(str(finished))
    assert manifest["digest"] == manifest_of(other)["digest"]
    assert pca(source, finished).code == 0  # the same run as before: only what was left is cleared
    assert_complete(finished, other)


@pytest.mark.parametrize("step", ["moved", "success"])
def test_a_kill_in_the_commit_is_mended_by_the_same_run(step, source, undisturbed_pca, tmp_path):
    """One before the manifest and one after it; test_fault_commit.py has all steps, the same for every job."""
    output = tmp_path / "out"
    assert pca(source, output, env=environment(MOLINO_CRASH=step)).code == -9
    assert pca(source, output).code == 0
    assert_complete(output, undisturbed_pca)


# --- what must not matter

SAME = {
    "1 worker": (["--workers", 1], {}),
    "4 workers": (["--workers", 4], {}),
    "processes of another user": (["--workers", 2, "--worker-mode", "processes"], ANOTHER_USERS),
    "threads of BLAS": ([], {"OPENBLAS_NUM_THREADS": "2"}),
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory, source):
    """Run the job in every way; {case: output}."""
    folder = tmp_path_factory.mktemp("same")
    plain = environment(folder, SMALL_SPANS)

    def run(case, options, variables):
        output = folder / case.replace(" ", "_")
        ended = pca(source, output, *options, env={**plain, **variables})
        assert ended.code == 0, ended.err
        return case, output

    calls = [lambda: run("plain", [], {}), *(lambda c=case: run(c, *SAME[c]) for case in SAME)]
    return dict(side_by_side(calls))


@pytest.mark.parametrize("case", SAME)
def test_the_bytes_are_the_same(case, outputs):
    assert bytes_of(outputs[case]) == bytes_of(outputs["plain"])
    assert manifest_of(outputs[case])["digest"] == manifest_of(outputs["plain"])["digest"]
    assert manifest_of(outputs[case])["counters"] == manifest_of(outputs["plain"])["counters"]


def test_the_bytes_of_a_text_are_the_same(tmp_path):
    """Of an unquoted one, cut into pieces, and a quoted one, read whole; in threads and processes."""
    random = np.random.default_rng(1)
    points = random.standard_normal((5000, 2)).tolist()
    for name, text in (("a", "{}"), ("b", '"of\n{}"')):
        rows = [f"{x!r},{text.format(n)},{y!r}" for n, (x, y) in enumerate(points)]
        rows[7], rows[4000] = "x,n,y", "1"
        (tmp_path / f"{name}.csv").write_text("\n".join(["x,n,y", *rows]))
    plain = environment(tmp_path, SMALL_SPANS + "molino.transforms.pca.read_vectors.PIECE_BYTES = 10_000\n")
    ways = {"a": ["--workers", 1], "b": ["--workers", 4], "c": ["--workers", 2, "--worker-mode", "processes"]}

    def run(name):
        inputs = ["--input", tmp_path / "a.csv", tmp_path / "b.csv", "--column", "x", "y"]
        return molino("pca", *inputs, "--output", tmp_path / name, "--quiet", *ways[name], env=plain)

    ended = side_by_side([lambda name=name: run(name) for name in ways])
    assert [one.code for one in ended] == [0] * 3
    assert len(manifest_of(tmp_path / "a")["datasets"]["vectors"]["files"]) > 10
    assert [len(file) for file in [manifest_of(tmp_path / "a")["datasets"]["rejects"]["files"]]] == [3]
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b") == bytes_of(tmp_path / "c")


def test_there_were_many_spans_and_a_second_pass(outputs):
    manifest = manifest_of(outputs["plain"])
    assert len(manifest["datasets"]["vectors"]["files"]) > 16
    assert manifest["counters"]["refined"] == 1


def test_nothing_is_said_beside_the_summary_but_of_the_number_that_depends_on_others(source, tmp_path):
    ended = pca(source, tmp_path / "out")
    assert (ended.code, ended.err.count("\n")) == (0, 1)
    assert "components without any variance, whose axes are arbitrary: 1" in ended.err
    assert ended.out.splitlines()[0].split() == ["rows", "read", "6,005"]
