"""The titles job from its command line, against pandas, tensorflow-transform and the models themselves."""

import csv
import json
import pathlib
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import molino
from molino.jobs import titles
from molino.jobs.run.recheck import verify
from molino.schemas import name_of
from molino.schemas.titles import titles_schema
from molino.training.nnlm_export import export_nnlm
from molino.training.reader import Reader
from molino.transforms.titles.keys import SPLITS, Draw, fold, title_ids
from molino.transforms.titles.sample import sample_titles
from tests.docs.test_counters import undeclared

pytestmark = pytest.mark.slow
SHARES = {"train": 0.7, "validation": 0.2, "test": 0.1}
OPTIONS = ["--validation", 0.2, "--test", 0.1, "--seed", 5, "--max-reject-ratio", 0.1]


def run(*arguments):
    """Run the job in this process, on one worker: faster to start than two for a small file."""
    return titles.JOB.main(["--quiet", "--workers", "1", *map(str, arguments)])


def manifest_of(output):
    return json.loads((output / "_manifest.json").read_text())


def table(output, dataset):
    """Read a data set as its manifest lists it."""
    files = manifest_of(output)["datasets"][dataset]["files"]
    parts = [pq.read_table(output / file["path"]) for file in files]
    return pa.concat_tables(parts) if parts else None


def frame(output, dataset):
    found = table(output, dataset)
    wanted = [field.name for field in found.schema if not pa.types.is_fixed_size_list(field.type)]
    return found.select(wanted).to_pandas()


def vectors(output, name):
    """Return a column of vectors: (n, dim)."""
    column = table(output, "titles")[name].combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two small models: with normalization, and without, which keeps empty tokens."""
    folder = tmp_path_factory.mktemp("models")
    words = ["Smart", "Tv", "Celular", "Mesa", "De", "32", "Samsung", "Negro", "Preto", "Câmera", "tv", "Oferta"]
    for seed, (name, how) in enumerate({"norm": {"normalization": True}, "plain": {"normalization": False}}.items()):
        dim = 8 - 3 * seed
        rows = np.random.default_rng(seed).standard_normal((len(words) + 7, dim)).astype(np.float32)
        export_nnlm(str(folder / name), words, rows, buckets=7, keep_empty=name == "plain", **how)
    return {"norm": folder / "norm", "plain": folder / "plain"}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    path = tmp_path_factory.mktemp("sample") / "titles.csv"
    return path, sample_titles(str(path), rows=6000, seed=4, hostile=True)


@pytest.fixture(scope="module")
def output(sample, models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "out"
    given = [f"--model={name}={path}" for name, path in models.items()]
    assert run("--input", sample[0], "--output", folder, *given, *OPTIONS, "--write-model-text", "--write-tokens") == 0
    return folder


@pytest.fixture(scope="module")
def oracle(sample):
    """The rows that can be read, as pandas sees them, with what must become of each."""
    with sample[0].open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        lines = file.read().split("\n")
    hostile = {line for lines in titles_hostile().values() for line in lines}
    kept = [line for line in lines if line not in hostile or not line]
    text = "\n".join(line for line in kept if line)
    rows = pd.DataFrame(list(csv.DictReader(text.splitlines(keepends=True))))
    rows["count"] = rows.groupby(["title", "category"])["title"].transform("size")
    return rows, rows.drop_duplicates(["title", "category"])


def titles_hostile():
    from molino.transforms.titles.sample import HOSTILE, UNCLOSED

    hostile = HOSTILE | UNCLOSED
    return {why: [line.decode("utf-8", "surrogateescape")[:-1] for line in lines] for why, lines in hostile.items()}


def test_nothing_is_lost(output, sample, oracle):
    assert undeclared(manifest_of(output)) == set()
    counters = manifest_of(output)["counters"]
    rows, kept = oracle
    rejects = {name.removeprefix("rejects."): n for name, n in counters.items() if name.startswith("rejects.")}
    assert rejects == sample[1]["hostile"]
    assert counters["rows_read"] == len(rows) + sum(rejects.values()) == 6000 + sum(rejects.values())
    assert (counters["titles"], counters["duplicates"]) == (len(kept), len(rows) - len(kept))
    assert verify(str(output))[1] == []


def test_titles_are_those_of_pandas(output, oracle):
    got = frame(output, "titles").sort_values(["title", "category"], ignore_index=True)
    columns = ["title", "language", "label_quality", "category", "count"]
    wanted = oracle[1][columns].sort_values(["title", "category"], ignore_index=True)
    pd.testing.assert_frame_equal(got[columns], wanted, check_dtype=False)


def test_the_schema_is_the_documented_one(output):
    schema = titles_schema({"norm": 8, "plain": 5}, model_text=True, tokens=True)
    found = table(output, "titles").schema
    assert found.equals(schema, check_metadata=True)
    assert name_of(found) == ("titles.titles", 2)


def test_rows_stand_in_the_order_of_splits_blocks_and_turns(output):
    got = frame(output, "titles")
    ids = title_ids(pa.array(got["title"].tolist()), pa.array(got["category"].tolist()))
    assert (got["id"] == ids).all()
    rows, draw = pa.record_batch({"id": ids}), Draw(seed=5, validation=0, test=0)
    blocks = (draw.block(rows).to_numpy() >> np.uint64(32)) * np.uint64(8) >> np.uint64(32)
    split = got["split"].map(SPLITS.index).to_numpy()
    order = np.lexsort([draw.turn(rows), blocks, split])
    assert (order == np.arange(len(ids))).all()
    # no order of the input is left
    assert abs(np.corrcoef(np.arange(len(ids)), got["label"])[0, 1]) < 0.05


def test_nearly_the_same_titles_are_on_one_side(output):
    got = frame(output, "titles")
    near = got["title"].map(lambda title: " ".join(sorted(fold(title).split())))
    assert near.nunique() < got["title"].nunique() < len(got)
    assert (got.groupby(near)["split"].nunique() == 1).all()
    shares = got["split"].value_counts(normalize=True)
    for split, share in SHARES.items():
        assert abs(shares[split] - share) < 0.03


def test_labels_are_of_training_alone(output):
    got, labels = frame(output, "titles"), frame(output, "labels")
    for split in SPLITS:
        counted = got[got["split"] == split]["category"].value_counts()
        assert labels.set_index("category")[split].to_dict() == {c: counted.get(c, 0) for c in got["category"].unique()}
    train = Counter(got[got["split"] == "train"]["category"])
    wanted = sorted(train, key=lambda category: (train[category], category.encode()), reverse=True)
    assert labels[labels["label"] >= 0]["category"].tolist() == wanted
    assert labels["label"].tolist() == [*range(len(wanted)), *[-1] * (len(labels) - len(wanted))]
    number = dict(zip(labels["category"], labels["label"], strict=True))
    assert got["label"].tolist() == [number[category] for category in got["category"]]


def test_conflicts_are_titles_with_two_categories(output, oracle):
    kept = oracle[1]
    several = kept[kept.duplicated("title", keep=False)].sort_values(["title", "category"], ignore_index=True)
    got = frame(output, "conflicts").sort_values(["title", "category"], ignore_index=True)
    assert len(got) > 10
    assert (
        got[["title", "category", "count"]].values.tolist() == several[["title", "category", "count"]].values.tolist()
    )
    counters = manifest_of(output)["counters"]
    assert (counters["conflicts"], counters["conflicting_titles"]) == (len(got), got["title"].nunique())


@pytest.mark.parametrize("name", ["norm", "plain"])
def test_vectors_are_the_models_own(name, output, models, hub):
    import tensorflow as tf

    model = hub.load(str(models[name]))
    texts = frame(output, "titles")["title"].tolist()
    wanted = model(tf.constant(texts)).numpy()
    got = vectors(output, name)
    assert got.dtype == np.float32
    error = np.linalg.norm(got - wanted, axis=1)
    assert (error <= 1e-6 * np.maximum(np.linalg.norm(wanted, axis=1), 1e-30)).all()


def test_the_tokens_give_the_vectors(output, models, hub):
    got = table(output, "titles")
    for name, folder in models.items():
        rows = hub.load(str(folder)).variables[0].numpy()
        dim = rows.shape[1]
        ids = got[f"{name}_tokens"].combine_chunks().flatten().to_numpy().reshape(len(got), -1)
        lengths = got[f"{name}_length"].to_numpy()
        np.testing.assert_array_equal(np.minimum(lengths, 32), (ids >= 0).sum(1))
        summed = (rows[np.maximum(ids, 0)] * (ids >= 0)[:, :, None]).sum(1) / np.sqrt(lengths)[:, None]
        vectors = got[name].combine_chunks().flatten().to_numpy().reshape(-1, dim)
        np.testing.assert_allclose(summed[lengths <= 32], vectors[lengths <= 32], atol=1e-4)


def test_the_model_text_has_no_punctuation(output):
    import pyarrow.compute as pc

    got = table(output, "titles")
    assert got["model_text"].equals(pc.replace_substring_regex(got["title"], r"\pP", ""))
    assert not got["model_text"].equals(got["title"])


def test_the_graph_gives_the_labels(output):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow as tf
        import tensorflow_transform as tft

        graph = tft.TFTransformOutput(str(output / "transform"))
        labels = frame(output, "labels").dropna()
        given = {"category": tf.constant([*labels["category"], "NO_SUCH"])}
        assert graph.transform_raw_features(given)["label"].numpy().tolist() == [*labels["label"], -1]
        assert list(graph.raw_feature_spec()) == ["category"]
    assert {view["path"].split("/")[0] for view in manifest_of(output)["views"]} >= {"transform"}


def test_a_file_is_of_one_split(output):
    counted = Counter()
    for file in manifest_of(output)["datasets"]["titles"]["files"]:
        splits = pq.read_table(output / file["path"], columns=["split"])["split"].unique().to_pylist()
        assert splits == [file["split"]]
        counted.update(splits)
    assert set(counted) == {"train", "validation", "test"}
    run, whole = molino.open(output), table(output, "titles")
    for split in counted:
        rows = whole.filter(pc.equal(whole["split"], split))
        assert run.read("titles", split=split).equals(rows)
        assert run.dataset("titles", split=split).count_rows() == len(rows)
        assert len(run.files("titles", split=split)) == counted[split]
        assert Reader(run.open_dataset("titles"), ["id"], split=split).rows == len(rows)
    for name, split in (("titles", "dev"), ("labels", "train")):
        with pytest.raises(molino.RunError, match=f"has no files of the split '{split}' alone"):
            run.read(name, split=split)


def test_without_a_model_the_titles_are_the_same_but_for_the_vectors(output, sample, tmp_path):
    assert run("--input", sample[0], "--output", tmp_path / "out", *OPTIONS) == 0
    without = frame(tmp_path / "out", "titles")
    old = ["id", "title", "language", "label_quality", "category", "label", "split", "count"]
    assert list(without) == [*old, "source", "record"]
    pd.testing.assert_frame_equal(without, frame(output, "titles")[list(without)])
    assert verify(str(tmp_path / "out"))[1] == []
    report = (tmp_path / "out/report.html").read_text()
    assert "Map of the vectors" not in report
    assert "Map of the vectors" in (output / "report.html").read_text()


def test_json_lines_give_what_csv_gives(tmp_path):
    sample_titles(str(tmp_path / "sample.csv"), rows=300, seed=4)
    rows = pd.read_csv(tmp_path / "sample.csv", dtype=str, keep_default_na=False)
    rows["item"] = [str(n) for n in range(len(rows))]
    rows.to_csv(tmp_path / "t.csv", index=False)
    lines = [json.dumps(row, ensure_ascii=False) for row in rows.to_dict("records")]
    (tmp_path / "t.jsonl").write_text("\n".join(lines), encoding="utf-8")
    for name in ("t.csv", "t.jsonl"):
        options = ["--keep", "item", "--max-reject-ratio", "1", "--span-bytes", 5000]
        assert run("--input", tmp_path / name, "--output", tmp_path / f"{name}.out", *options) == 0
    one, other = (table(tmp_path / f"{name}.out", "titles").drop_columns(["source"]) for name in ("t.csv", "t.jsonl"))
    assert one.equals(other)


def test_the_same_run_again_is_a_no_op(output, sample, models, capsys):
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    given = [f"--model={name}={path}" for name, path in models.items()]
    more = [*OPTIONS, "--write-model-text", "--write-tokens"]
    assert run("--input", sample[0], "--output", output, *given, *more) == 0
    assert "already holds this run" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == before


@pytest.fixture(scope="module")
def bare(models, tmp_path_factory):
    """A run on a Parquet file with nothing but titles, in float16."""
    folder = tmp_path_factory.mktemp("bare")
    texts = ["", " ", "Mesa De Tv", "a\0b", "日本語", "🔥", "¡¿", "x" * 100_000, "Tv  ", "Mesa De Tv", "tv mesa de"]
    pq.write_table(pa.table({"TITULO": texts}), folder / "t.parquet")
    given = ["--title-column", "TITULO", "--without-category", "--vector-type", "float16"]
    assert run("--input", folder / "t.parquet", "--output", folder / "out", f"--model=m={models['norm']}", *given) == 0
    return texts, folder / "out"


def test_titles_without_categories(bare):
    texts, output = bare
    got = frame(output, "titles")
    assert sorted(got["title"]) == sorted(set(texts))
    assert set(got["label"]) == {-1}
    assert got[["category", "language", "label_quality"]].isna().all(axis=None)
    assert frame(output, "labels")["label"].tolist() == [-1]
    assert [view["path"] for view in manifest_of(output)["views"] if "transform" in view["path"]] == []
    assert manifest_of(output)["counters"]["unlabeled"] == len(set(texts))


def test_float16_is_the_nearest_to_float32(bare, models, hub):
    import tensorflow as tf

    _, output = bare
    wanted = hub.load(str(models["norm"]))(tf.constant(frame(output, "titles")["title"].tolist())).numpy()
    got = vectors(output, "m")
    assert got.dtype == np.float16
    np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "option", "rejects"),
    [(b"title,category\n", "--allow-empty", 0), (b"title,category\nni\xf1o,A\n\xf1,B\n", "--max-reject-ratio=1", 2)],
    ids=["no rows", "only rejects"],
)
def test_no_title_at_all_is_a_run_too(text, option, rejects, models, tmp_path):
    (tmp_path / "t.csv").write_bytes(text)
    given = ("--input", tmp_path / "t.csv", "--output", tmp_path / "out", f"--model=m={models['norm']}", option)
    assert run(*given) == 0
    counters = manifest_of(tmp_path / "out")["counters"]
    assert (counters["titles"], counters.get("rejects", 0)) == (0, rejects)
    assert verify(str(tmp_path / "out"))[1] == []
    assert "too few titles" in (tmp_path / "out/report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "m=x", "--model", "M=y"], ["the titles have a column M; give the model another name"]),
        (["--model", "title=x"], ["title", "the titles have a column"]),
        (["--model", "a b=x"], ["cannot name a column"]),
        (["--model", "x"], ["NAME=PATH_OR_URL"]),
        (["--model", "m=x", "--model-sha256", "n=" + "0" * 64], ["names no model: n"]),
        (["--model", "m=x", "--model-sha256", "m=12"], ["64 digits"]),
        (["--model", "m=x", "--validation", "0.5", "--test", "0.5"], ["nothing to train on"]),
    ],
)
def test_options_that_cannot_be_are_usage_errors(arguments, words, sample, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("--input", sample[0], "--output", tmp_path / "out", *arguments)
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert [word for word in words if word not in said] == []
    assert not (tmp_path / "out").exists()


def test_an_optional_column_that_is_named_must_be_there(tmp_path, models, monkeypatch, capsys):
    (tmp_path / "t.csv").write_text("title,category\nMesa,A\n")
    monkeypatch.setattr("molino.jobs.runners.exits.leave", lambda code: (_ for _ in ()).throw(SystemExit(code)))
    with pytest.raises(SystemExit) as stopped:
        run(
            *("--input", tmp_path / "t.csv", "--output", tmp_path / "out", f"--model=m={models['norm']}"),
            *("--language-column", "idioma"),
        )
    assert stopped.value.code == 1
    assert "lacks the column 'idioma'" in capsys.readouterr().err


SHARED = pathlib.Path(__file__).resolve().parents[3] / "shared/data/meli/titles.parquet"


@pytest.mark.skipif(not SHARED.exists(), reason="the published titles are not here")
def test_all_published_titles(models, tmp_path):
    assert run("--input", SHARED, "--output", tmp_path / "out", f"--model=m={models['norm']}") == 0
    found = frame(tmp_path / "out", "titles")
    published = pq.read_table(SHARED, columns=["title", "category"]).to_pandas()
    assert len(found) == len(published.drop_duplicates()) == 670_052
    assert found["count"].sum() == len(published)
    assert found["category"].nunique() == 1573
    near = found["title"].map(lambda title: " ".join(sorted(fold(title).split())))
    assert len(found) - near.nunique() == 2142
    assert (found.groupby(near)["split"].nunique() == 1).all()
