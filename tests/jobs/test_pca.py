"""The pca job from its command line, against the singular value decomposition of all rows by NumPy."""

import gzip
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA

from molino.jobs import pca
from molino.jobs.run.recheck import verify
from molino.schemas import name_of
from molino.schemas.pca import CENTER, ERRORS, components_schema, vectors_schema
from molino.transforms.errors import DataError
from molino.transforms.pca.components import find_components, fix_signs, refine_components, rotate_vectors
from molino.transforms.pca.numbers import check_block
from molino.transforms.pca.read_vectors import VectorFile, VectorSpan
from molino.transforms.pca.rotate import count_zeros
from molino.transforms.pca.sample import HOSTILE, sample_vectors
from molino.transforms.pca.second_moment import second_moment
from tests.docs.test_counters import undeclared

pytestmark = pytest.mark.slow
ROWS = 5000


def run(*arguments):
    """Run the job in this process, on one worker: faster to start than two for a small file."""
    return pca.JOB.main(["--quiet", "--workers", "1", *map(str, arguments)])


def manifest_of(output):
    return json.loads((output / "_manifest.json").read_text())


def table(output, dataset):
    """Read a data set as its manifest lists it."""
    files = manifest_of(output)["datasets"][dataset]["files"]
    return pa.concat_tables([pq.read_table(output / file["path"]) for file in files])


def matrix(column):
    column = column.combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1).astype(np.float64)


def lists(vectors, type_):
    return pa.FixedSizeListArray.from_arrays(
        pa.array(vectors.astype(type_).reshape(-1)), type=pa.list_(pa.from_numpy_dtype(type_), vectors.shape[1])
    )


@pytest.fixture(scope="module")
def vectors():
    random = np.random.default_rng(3)
    turn = np.linalg.qr(random.standard_normal((12, 12)))[0]
    return (random.standard_normal((ROWS, 12)) / np.arange(1, 13) + 0.3) @ turn


@pytest.fixture(scope="module")
def source(vectors, tmp_path_factory):
    """Two files with vectors in float32 and in float64, another column of vectors, and columns of other types."""
    folder = tmp_path_factory.mktemp("vectors")
    half = ROWS // 2
    for number, part in enumerate((slice(0, half), slice(half, ROWS))):
        rows = range(ROWS)[part]
        columns = {
            "id": pa.array(rows, pa.int64()),
            "text": pa.array([None if n % 10 == 0 else f"text {n}" for n in rows], pa.large_string()),
            "single": lists(vectors[part], np.float32),
            "double": lists(vectors[part], np.float64),
            "other": lists(-3 * vectors[part][:, :7], np.float32),
            "tags": pa.array([["a"] * (n % 3) for n in rows]),
            "place": pa.array([{"x": n % 9} for n in rows]),
        }
        pq.write_table(pa.table(columns), folder / f"v-{number}.parquet", row_group_size=700)
    return str(folder / "*.parquet")


@pytest.fixture(scope="module")
def output(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "out"
    assert run("--input", source, "--column", "double", "--output", folder, "--label-column", "text") == 0
    return folder


def test_the_run_verifies(output):
    manifest, wrong = verify(str(output))
    assert wrong == []
    assert undeclared(manifest) == set()
    assert manifest["counters"] == {
        "rows_read": ROWS, "vectors": ROWS, "numbers": 12, "components": 12, "refined": 0,
    }  # fmt: skip
    assert [view["path"] for view in manifest["views"]] == ["report.html", "summary.txt", "README.md"]


def test_the_components_are_those_of_svd(output, vectors):
    _, singular, rows = np.linalg.svd(vectors, full_matrices=False)
    found = table(output, "components")
    np.testing.assert_allclose(matrix(found["loadings"]).T, fix_signs(rows.T), atol=1e-10)
    deviations = singular / np.sqrt(ROWS - 1)
    np.testing.assert_allclose(found["standard_deviation"], deviations, rtol=1e-12)
    np.testing.assert_allclose(found["proportion"], deviations**2 / (deviations**2).sum(), rtol=1e-12)
    np.testing.assert_allclose(found["cumulative"], np.cumsum(found["proportion"]), rtol=1e-12)


def test_cosines_and_magnitudes_are_kept(output, vectors):
    scores, some = matrix(table(output, "vectors")["double"])[::7], vectors[::7]
    np.testing.assert_allclose(scores @ scores.T, some @ some.T, atol=1e-12)
    for row in table(output, "errors").to_pylist()[-2:]:
        assert row["cosine_error_max"] < 1e-12
        assert row["magnitude_min"] == pytest.approx(1, abs=1e-12)


def test_all_other_columns_are_carried(output, source):
    found = table(output, "vectors")
    folder = source.rpartition("/")[0]
    given = pa.concat_tables([pq.read_table(f"{folder}/v-{n}.parquet") for n in (0, 1)])
    assert found.column_names == [*given.column_names, "source", "row"]
    assert found.drop(["double", "source", "row"]).to_pylist() == given.drop("double").to_pylist()
    half = ROWS // 2
    assert found["source"].to_pylist() == ["v-0.parquet"] * half + ["v-1.parquet"] * half
    assert found["row"].to_pylist() == [*range(1, half + 1)] * 2


def test_rows_stand_in_the_order_given(tmp_path, vectors):
    for number in range(12):
        rows = pa.table({"n": [number] * 3, "v": lists(vectors[3 * number : 3 * number + 3], np.float32)})
        pq.write_table(rows, tmp_path / f"part.{number}.parquet")
    for name, given, wanted in (
        ("glob", [tmp_path / "part.*.parquet"], list(range(12))),
        ("files", [tmp_path / f"part.{number}.parquet" for number in (2, 11, 1)], [2, 11, 1]),
        ("both", [tmp_path / "part.3.parquet", tmp_path / "part.?.parquet"], [3, 0, 1, 2, 4, 5, 6, 7, 8, 9]),
    ):
        assert run("--input", *given, "--column", "v", "--output", tmp_path / name) == 0
        found = table(tmp_path / name, "vectors")
        assert found["n"].to_pylist() == [number for number in wanted for _ in range(3)]
        assert found["source"].to_pylist() == [f"part.{number}.parquet" for number in wanted for _ in range(3)]


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (np.zeros((9, 3)), {"pca.no_variance": 3, "pca.zeros": 9}),
        (np.ones((1, 3)), {"pca.no_variance": 2}),
        (np.tile([1.0, 2, 3], (9, 1)), {"pca.no_variance": 2}),
        (np.vstack([np.zeros((1, 3)), np.eye(3)]), {"pca.zeros": 1}),
        (np.vstack([np.zeros((1, 3)), np.random.default_rng(1).random((200, 3))]), {}),
    ],
)
def test_what_gives_no_components_is_told(made, told):
    block = check_block(
        pa.record_batch({"v": lists(made, np.float32)}),
        ["v"],
        3,
        lines=np.arange(1, 1 + len(made)),
        places=np.arange(len(made)),
    )
    span = VectorSpan(number=0, file=VectorFile(path="", label="v.parquet", groups=()), start=0, line=0, row=0)
    rough = find_components(second_moment(made, center=False))
    exact = refine_components(rough, second_moment(rotate_vectors(made, rough.axes), center=False))
    counters = {"vectors": len(made), "components": 3, "_spanned": exact.spanned, "_zeros": count_zeros(block, span)}
    found = pca.warn_of_vectors(counters)
    assert {warning.kind: warning.count for warning in found} == told
    assert all(warning.example == "v.parquet line 1" for warning in found if warning.kind == "pca.zeros")


def test_columns_of_the_names_of_ours_stay(output, tmp_path):
    assert run("--input", output, "--column", "double", "--output", tmp_path / "again") == 0
    found = table(tmp_path / "again", "vectors")
    assert found.column_names[-4:] == ["source", "row", "input_source", "input_row"]
    assert found["source"].equals(table(output, "vectors")["source"])
    assert found["input_row"].to_pylist() == list(range(1, ROWS // 2 + 1)) * 2


def test_the_schemas_are_the_documented_ones(output):
    assert name_of(table(output, "vectors").schema) == name_of(vectors_schema(pa.schema([]), "v", 1, pa.float32()))
    assert table(output, "components").schema.equals(components_schema(12), check_metadata=True)
    assert table(output, "errors").schema.equals(ERRORS, check_metadata=True)


def test_fewer_components_within_an_error(source, vectors, tmp_path):
    folder = tmp_path / "out"
    options = ["--max-cosine-error", 0.02, "--against", "other", "--label-column", "id"]
    assert run("--input", source, "--column", "single", "--output", folder, *options) == 0
    kept = manifest_of(folder)["counters"]["components"]
    assert 1 < kept < 12
    errors = table(folder, "errors").to_pylist()
    assert [row["components"] for row in errors if row["written"]] == [kept, kept]
    assert errors[kept - 1]["cosine_error_mean"] <= 0.02 < errors[kept - 2]["cosine_error_mean"]
    axes = matrix(table(folder, "components")["loadings"]).T[:, :kept]
    found = table(folder, "vectors").schema.field("single").type
    assert (found.value_type, found.list_size) == (pa.float32(), kept)
    np.testing.assert_allclose(matrix(table(folder, "vectors")["single"]), vectors @ axes, atol=1e-6)
    assert (folder / "summary.txt").read_text().startswith(f"Importance of first k={kept} (out of 12)")


def test_float16(source, vectors, tmp_path):
    folder = tmp_path / "out"
    options = ["--components", 4, "--vector-type", "float16"]
    assert run("--input", source, "--column", "double", "--output", folder, *options) == 0
    scores = matrix(table(folder, "vectors")["double"])
    axes = matrix(table(folder, "components")["loadings"]).T[:, :4]
    np.testing.assert_array_equal(scores, (vectors @ axes).astype(np.float16).astype(float))
    written = table(folder, "errors").to_pylist()[-1]
    assert (written["vector_type"], written["components"]) == ("float16", 4)


def test_centred(source, vectors, tmp_path):
    folder = tmp_path / "out"
    assert run("--input", source, "--column", "double", "--output", folder, "--center") == 0
    mean = table(folder, "center")
    assert mean.schema.equals(CENTER, check_metadata=True)
    np.testing.assert_allclose(mean["mean"], vectors.mean(axis=0), atol=1e-14)
    _, singular, rows = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(matrix(table(folder, "components")["loadings"]).T, fix_signs(rows.T), atol=1e-10)
    scores = matrix(table(folder, "vectors")["double"])
    np.testing.assert_allclose(scores.std(axis=0, ddof=1), singular / np.sqrt(ROWS - 1), rtol=1e-12)


def test_a_finished_run_is_an_input(output, tmp_path, capsys):
    again = tmp_path / "again"
    assert run("--input", output, "--column", "double", "--output", again) == 0
    # rotated already: the rotation is none
    np.testing.assert_allclose(matrix(table(again, "components")["loadings"]), np.eye(12), atol=1e-10)
    assert run("--input", output, "--column", "double", "--output", again) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_small_components_take_another_pass(tmp_path):
    random = np.random.default_rng(0)
    deficient = random.standard_normal((3000, 4)) @ random.standard_normal((4, 9)) * 1e150
    pq.write_table(pa.table({"v": lists(deficient, np.float64)}), tmp_path / "v.parquet", row_group_size=500)
    assert run("--input", tmp_path / "v.parquet", "--column", "v", "--output", tmp_path / "out") == 0
    singular = np.linalg.svd(deficient, compute_uv=False)
    found = np.array(table(tmp_path / "out", "components")["standard_deviation"]) * np.sqrt(2999)
    np.testing.assert_allclose(found / singular[0], singular / singular[0], atol=1e-10)
    assert manifest_of(tmp_path / "out")["counters"]["refined"] == 1


def test_the_layout_of_the_files_does_not_matter(source, output, tmp_path):
    folder = source.rpartition("/")[0]
    whole = pa.concat_tables([pq.read_table(f"{folder}/v-{n}.parquet") for n in (0, 1)])
    pq.write_table(whole, tmp_path / "v.parquet", row_group_size=1234)
    options = ["--column", "double", "--label-column", "text"]
    assert run("--input", tmp_path / "v.parquet", "--output", tmp_path / "out", *options) == 0
    one, other = (table(where, "components") for where in (output, tmp_path / "out"))
    np.testing.assert_allclose(matrix(one["loadings"]), matrix(other["loadings"]), atol=1e-12)
    np.testing.assert_allclose(one["standard_deviation"], other["standard_deviation"], rtol=1e-12)
    np.testing.assert_allclose(
        matrix(table(output, "vectors")["double"]), matrix(table(tmp_path / "out", "vectors")["double"]), atol=1e-12
    )


def test_a_thousand_points_as_the_study_made_them(tmp_path):
    sample_vectors(str(tmp_path / "p.parquet"), rows=1000, numbers=2, seed=2016)
    assert run("--input", tmp_path / "p.parquet", "--column", "vector", "--output", tmp_path / "out") == 0
    first, second = table(tmp_path / "out", "components")["standard_deviation"].to_pylist()
    assert first == pytest.approx(83.0, abs=1.5)
    assert second == pytest.approx(13.3, abs=0.8)
    before, after = (
        matrix(t["vector"]) for t in (pq.read_table(tmp_path / "p.parquet"), table(tmp_path / "out", "vectors"))
    )
    lengths = np.linalg.norm(before, axis=1)
    np.testing.assert_allclose(np.linalg.norm(after, axis=1), lengths, rtol=1e-12)
    cosines = [points @ points.T / np.outer(lengths, lengths) for points in (before, after)]
    np.testing.assert_allclose(cosines[0], cosines[1], atol=1e-12)
    orders = [np.argsort(-found.round(12), axis=1, kind="stable") for found in cosines]
    assert (orders[0] == orders[1]).mean() > 0.9999  # rounding may part cosines that are equal to 12 digits
    rows = table(tmp_path / "out", "errors").to_pylist()
    assert [rows[-1][f"recall_{k}"] for k in (1, 10, 100)] == [1, 1, 1]
    # the first component is close to uniform, the second to normal
    kurtosis = [float((s**4).mean() / (s**2).mean() ** 2) for s in (after - after.mean(axis=0)).T]
    assert kurtosis == pytest.approx([1.8, 3.0], abs=0.35)


IRIS = """\
Standard deviations (1, .., p=4):
[1] 2.0562689 0.4926162 0.2796596 0.1543862

Rotation (n x k) = (4 x 4):
                     PC1         PC2         PC3        PC4
Sepal.Length  0.36138659  0.65658877 -0.58202985  0.3154872
Sepal.Width  -0.08452251  0.73016143  0.59791083 -0.3197231
Petal.Length  0.85667061 -0.17337266  0.07623608 -0.4798390
Petal.Width   0.35828920 -0.07548102  0.54583143  0.7536574

Importance of components:
                          PC1     PC2    PC3     PC4
Standard deviation     2.0563 0.49262 0.2797 0.15439
Proportion of Variance 0.9246 0.05307 0.0171 0.00521
Cumulative Proportion  0.9246 0.97769 0.9948 1.00000
"""  # prcomp(iris[1:4]) and its summary in R


def test_one_command_gives_what_r_gives_of_a_csv(tmp_path, capsys):
    frame = load_iris(as_frame=True).frame
    names = ["Sepal.Length", "Sepal.Width", "Petal.Length", "Petal.Width"]
    frame.columns = [*names, "Species"]
    frame.to_csv(tmp_path / "iris.csv", index=False)
    out = tmp_path / "out"
    assert run("--input", tmp_path / "iris.csv", "--column", *names, "--center", "--output", out) == 0
    assert capsys.readouterr().out.endswith(f"\n\n{IRIS}")
    assert (out / "summary.txt").read_text() == IRIS
    found = table(out, "vectors")
    assert found.column_names == ["Species", "scores", "source", "row"]
    scores = PCA(svd_solver="full").fit_transform(frame[names].to_numpy())
    np.testing.assert_allclose(np.abs(matrix(found["scores"])), np.abs(scores), atol=1e-12)
    assert found["Species"].to_pylist() == [str(kind) for kind in frame["Species"]]
    assert verify(str(out))[1] == []
    assert undeclared(manifest_of(out)) == set()


def test_text_with_bad_lines(tmp_path, capsys):
    """Of two files, one packed: rows, rejects with their lines, and warnings."""
    random = np.random.default_rng(1)
    lines = [f"{n},{x!r},{y!r},é" for n, (x, y) in enumerate(random.standard_normal((3000, 2)).tolist())]
    expected = np.array([line.split(",")[1:3] for line in lines], float)
    lines[10], lines[20], lines[2000] = "10,1", "20,1,x,é", "2000,,2,é"
    lines[1700] = lines[1700].replace("é", 'é"é')
    for name, part in (("a.csv", lines[:1500]), ("b.csv.gz", lines[1500:])):
        data = "\n".join(["id,x,y,t", *part]).encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    out = tmp_path / "out"
    arguments = ["--input", tmp_path / "a.csv", tmp_path / "b.csv.gz", "--column", "x", "y", "--keep", "id", "y"]
    assert run(*arguments, "--encoding", "cp850", "--label-column", "t", "--output", out) == 0
    told = capsys.readouterr().err
    assert "text that is read as cp850 is valid UTF-8 (2 of 2 files looked at); first: a.csv line 2" in told
    assert "1 records have a quote within a field that is not quoted" in told
    assert "; b.csv.gz line 202; write it twice" in told
    found, rejects = table(out, "vectors"), table(out, "rejects").to_pylist()
    good = [n for n in range(3000) if n not in (10, 20, 2000)]
    assert found.column_names == ["id", "y", "scores", "source", "row"]
    assert found["id"].to_pylist() == [str(n) for n in good]
    assert found["row"].to_pylist() == [n % 1500 + 1 for n in good]
    assert [tuple(row.values()) for row in rejects] == [
        ("a.csv", 12, "too_few_fields", "99,9"), ("a.csv", 22, "no_number", "column 'y': A"),
        ("b.csv.gz", 502, "null_number", "column 'x'"),
    ]  # fmt: skip
    axes = matrix(table(out, "components")["loadings"])
    np.testing.assert_allclose(matrix(found["scores"]), expected[good] @ axes.T, atol=1e-12)
    assert manifest_of(out)["counters"] == {
        "rows_read": 3000, "vectors": 2997, "rejects": 3, "numbers": 2, "components": 2, "refined": 0,
        "rejects.too_few_fields": 1, "rejects.no_number": 1, "rejects.null_number": 1, "quotes.unquoted": 1,
    }  # fmt: skip
    assert undeclared(manifest_of(out)) == set()
    assert verify(str(out))[1] == []


def test_names_of_columns_that_are_taken(tmp_path):
    pq.write_table(pa.table({"x": [1.0, 2], "scores": [3, 4], "source": [5, 6], "position": [7, 8]}), tmp_path / "a")
    assert run("--input", tmp_path / "a", "--column", "x", "--output", tmp_path / "out") == 0
    found = table(tmp_path / "out", "vectors")
    assert found.column_names == ["scores", "source", "position", "pca_scores", "input_source", "row"]
    assert found["pca_scores"].to_pylist() == [[1.0], [2.0]]


def test_bad_rows_are_rejects(tmp_path):
    sample_vectors(str(tmp_path / "p.parquet"), rows=1000, numbers=3, seed=1, hostile=True)
    assert run("--input", tmp_path / "p.parquet", "--column", "vector", "--output", tmp_path / "out") == 0
    rejects = table(tmp_path / "out", "rejects").to_pylist()
    assert [(row["line"], row["reason"]) for row in rejects] == [(1001 + n, why) for n, why in enumerate(HOSTILE)]
    assert {row["source"] for row in rejects} == {"p.parquet"}
    assert table(tmp_path / "out", "vectors")["id"].to_pylist() == list(range(1000))
    counters = manifest_of(tmp_path / "out")["counters"]
    assert (counters["rows_read"], counters["vectors"], counters["rejects"]) == (1005, 1000, 5)


def test_no_rows_by_option(tmp_path):
    pq.write_table(pa.table({"v": pa.array([], pa.list_(pa.float32(), 3))}), tmp_path / "v.parquet")
    arguments = ["--input", tmp_path / "v.parquet", "--column", "v", "--output", tmp_path / "out", "--allow-empty"]
    assert run(*arguments) == 0
    assert verify(str(tmp_path / "out"))[1] == []
    assert table(tmp_path / "out", "components").num_rows == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--components", 13], "the vectors of double have 12 numbers"),
        (["--components", 0], "at least 1"),
        (["--max-cosine-error", 0], "above 0"),
        (["--drop", "double"], "--drop double: it is a --column"),
        (["--drop", "id", "--keep", "id"], "not allowed with"),
        (["--components", 2, "--max-cosine-error", 0.1], "not allowed with"),
    ],
)
def test_options_that_cannot_be_used(source, options, words, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("--input", source, "--column", "double", "--output", tmp_path / "out", *options)
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_output_inside_a_run(output, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("--input", output, "--column", "double", "--output", output / "again")
    assert stopped.value.code == 2
    assert "lies inside --input" in capsys.readouterr().err
    assert verify(str(output))[1] == []


def test_runs_that_cannot_be_read(output, tmp_path):

    broken = shutil.copytree(output, tmp_path / "broken")
    with pytest.raises(DataError, match=r"no data set of .* has a column 'w'; its vectors: "):
        pca.list_run(str(broken), "w")
    [file, *_] = manifest_of(broken)["datasets"]["vectors"]["files"]
    with (broken / file["path"]).open("ab") as out:
        out.write(b"x")
    with pytest.raises(DataError, match="is not what the run wrote; molino verify"):
        pca.list_run(str(broken), "double")
    (broken / "_SUCCESS").unlink()
    with pytest.raises(DataError, match="is no finished run"):
        pca.list_run(str(broken), "double")
