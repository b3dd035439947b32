"""From titles to a served classifier: the jobs and training together, as a user runs them."""

import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molino.jobs import cli
from molino.jobs.run.recheck import verify
from molino.training.nnlm_export import export_nnlm
from molino.training.runs import open_run
from molino.transforms.titles.sample import sample_titles


@pytest.fixture(autouse=True)
def _stay(monkeypatch):
    """A failed run ends its process at once; here it is the tests' own."""
    monkeypatch.setattr("molino.jobs.runners.exits.leave", sys.exit)


def run(*words):
    try:
        return cli.main([str(word) for word in words])
    except SystemExit as stop:
        return stop.code


def table(folder, dataset):
    manifest = json.loads((folder / "_manifest.json").read_text())
    return pa.concat_tables([pq.read_table(folder / file["path"]) for file in manifest["datasets"][dataset]["files"]])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with titles.csv, a model, and a run with vectors and tokens."""
    folder = tmp_path_factory.mktemp("flow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        sample_titles(str(folder / "titles.csv"), rows=2500, seed=3)
        with (folder / "titles.csv").open(encoding="utf-8", newline="") as file:
            titles = [row["title"] for row in csv.DictReader(file)]
        words = sorted({word for title in titles for word in title.split() if word.isalnum()})
        vectors = np.random.default_rng(0).standard_normal((len(words) + 9, 16)).astype(np.float32)
        export_nnlm(str(folder / "model"), words, vectors, buckets=9, normalization=True)
        options = ["--quiet", "--workers", "1", "--write-tokens", "--validation", "0.2", "--test", "0.2"]
        given = ["--input", folder / "titles.csv", "--model", f"es={folder / 'model'}", "--output", folder / "run"]
        assert run("titles", *given, *options) == 0
        yield folder


@pytest.fixture(scope="module")
def classifier(made):
    """Return what gives a trained classifier of a kind, trained once."""
    done = set()

    def output_of(kind):
        output = made / kind
        calibrate = ["--calibrate"] if kind != "mlp-512" else []
        given = ["--input", made / "run", "--output", output, "--quiet", *calibrate]
        model = ["--model", f"es={made / 'model'}"]
        more = {
            "phrases": ["--architecture", "phrases"],
            "fine-tune": [*model, "--architecture", "linear", "--fine-tune"],
        }.get(kind, [*model, "--architecture", kind])
        if kind not in done:
            assert run("train", "titles", *given, *more, "--epochs", "4", "--rate", "0.01", "--batch", "64") == 0
            done.add(kind)
        return output

    return output_of


@pytest.fixture
def trained(classifier, request):
    return classifier(request.param)


OF_EACH_KIND = pytest.mark.parametrize("trained", ["mlp-512", "mlp-2048", "phrases", "fine-tune"], indirect=True)


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def calibrated(folder):
    return ["--calibrate"] if json.loads((folder / "metrics.json").read_text())["temperatures"] else []


@pytest.mark.slow
def test_the_keras_models_load_without_this_program(classifier):
    """With `features` of the SavedModel where titles are what it takes: Keras has no layer for them."""
    program = """
import sys
import numpy as np, keras, tensorflow as tf
for folder in sys.argv[1:]:
    model = keras.saving.load_model(folder + "/model.keras")
    served = tf.saved_model.load(folder + "/serving")
    title = tf.constant(["Mesa Ratona", "zzz", ""])
    if "features" in served.signatures:
        found = served.signatures["features"](title)
        logits = model([found["rows"], found["weights"]])
        order = np.argmax(logits.numpy(), 1).tolist()
        assert order == served.signatures["serving_default"](title)["label"].numpy().tolist(), order
assert not [name for name in sys.modules if name.startswith("molino")]
"""
    folders = [str(classifier(kind)) for kind in ("mlp-512", "phrases", "fine-tune")]
    words = [sys.executable, "-P", "-c", program, *folders]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
@OF_EACH_KIND
def test_serving_gives_the_predictions(made, trained, hub):
    import tensorflow as tf

    served = tf.saved_model.load(str(trained / "serving"))
    titles = {row["id"]: row for row in table(made / "run", "titles").to_pylist()}
    categories = [row["category"] for row in table(made / "run", "labels").to_pylist() if row["label"] >= 0]
    rows = table(trained, "predictions").to_pylist()
    asked = [titles[row["id"]] for row in rows]
    found = served.signatures["with_language"](
        title=tf.constant([row["title"] for row in asked]),
        language=tf.constant([row["language"] or "" for row in asked]),
    )
    chances = np.array([row["top_scores"] for row in rows])
    np.testing.assert_allclose(found["scores"].numpy(), chances, atol=2e-4)
    assert ("probabilities" in found) == ("--calibrate" in calibrated(trained))
    if "probabilities" in found:
        likely = np.array([row["top_probabilities"] for row in rows])
        np.testing.assert_allclose(found["probabilities"].numpy(), likely, atol=2e-4)
    else:
        assert {row["top_probabilities"] for row in rows} == {None}
    same = found["label"].numpy() == [row["prediction"] for row in rows]
    assert (same | (np.diff(chances[:, :2]).ravel() > -1e-3)).all()
    names = [name.decode() for name in found["category"].numpy()]
    assert names == [categories[label] for label in found["label"].numpy()]
    numbered = served.signatures["number"](category=tf.constant([*categories, "no such"]))["label"].numpy()
    assert numbered.tolist() == [*range(len(categories)), -1]
    assert (trained / "serving/assets.extra/transform/transform_fn/saved_model.pb").exists()
    page = (trained / "report.html").read_text()
    assert "Learning curves" in page


@pytest.mark.slow
@OF_EACH_KIND
def test_predict_is_serving_by_the_run_protocol(made, trained, tmp_path, capsys):
    words = ["--model", trained, "--input", made / "titles.csv", "--quiet"]
    assert run("predict", *words, "--output", tmp_path / "one", "--workers", "1") == 0
    told = capsys.readouterr().out
    assert "predictions  2,500" in told
    one = table(tmp_path / "one", "predictions")
    assert verify(str(tmp_path / "one"))[1] == []
    open_run(tmp_path / "one", {"predictions": ("predict.predictions", 2)})
    rows = one.to_pylist()
    assert len({row["line"] for row in rows}) == 2500
    assert all(row["prediction"] == row["top_categories"][0] for row in rows)
    assert all(row["top_scores"] == sorted(row["top_scores"], reverse=True) for row in rows)
    assert sorted(row["record"] for row in rows) == list(range(1, 2501))
    by_record = sorted(rows, key=lambda row: row["record"])
    assert [row["title"] for row in by_record] == [row["title"] for row in read_csv(made / "titles.csv")]
    known = {row["title"]: row for row in rows}
    categories = [row["category"] for row in table(made / "run", "labels").to_pylist() if row["label"] >= 0]
    titles = {row["id"]: row["title"] for row in table(made / "run", "titles").to_pylist()}
    same = [
        categories[row["prediction"]] == known[titles[row["id"]]]["prediction"]
        for row in table(trained, "predictions").to_pylist()
    ]
    assert np.mean(same) > 0.99
    if trained.name != "mlp-512":
        return
    # what no classifier changes
    more = ["--workers", "2", "--span-bytes", "20000", "--shards", "3"]
    assert run("predict", *words, "--output", tmp_path / "two", *more) == 0
    assert table(tmp_path / "two", "predictions").equals(one)
    assert run("predict", *words, "--output", tmp_path / "one", "--workers", "1") == 0
    assert "already holds this run" in capsys.readouterr().out


@pytest.mark.slow
def test_a_classifier_that_is_not_what_was_written_is_refused(classifier, made, tmp_path, capsys):
    output = shutil.copytree(classifier("phrases"), tmp_path / "changed")
    words = ["predict", "--model", output, "--input", made / "titles.csv", "--quiet", "--output", tmp_path / "out"]
    success = (output / "_SUCCESS").read_text()
    for spoil, message in {
        lambda: (output / "_SUCCESS").write_text("0" * 64): f"a commit in {output} is at work, or was cut short",
        lambda: (output / "serving/fingerprint.pb").write_bytes(b"x"): "fingerprint.pb is not what was written",
    }.items():
        (output / "_SUCCESS").write_text(success)
        spoil()
        assert run(*words) == 1
        assert message in capsys.readouterr().err
    for name in ("_manifest.json", "_SUCCESS"):  # as versions before wrote it
        (output / name).unlink()
    assert run(*words) == 0


@pytest.mark.slow
def test_fine_tuning_needs_tokens_and_tables(made, tmp_path, capsys):
    words = ["--input", made / "run", "--output", tmp_path / "out", "--quiet", "--fine-tune"]
    assert run("train", "titles", *words) == 2
    assert "--fine-tune needs --model NAME=DIR" in capsys.readouterr().err
    other = np.random.default_rng(5).standard_normal((3, 16)).astype(np.float32)
    export_nnlm(str(tmp_path / "other"), ["Tv", "De"], other, buckets=1, normalization=True)
    assert run("train", "titles", *words, "--model", f"es={tmp_path / 'other'}") == 1
    assert "gives other vectors than the run has" in capsys.readouterr().err
    assert run("train", "titles", *words, "--per-language") == 2


@pytest.mark.parametrize("words", [["titles"], ["compare"], []], ids=["titles", "compare", "none"])
def test_help_of_every_action(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["train", *words, "--help"])
    assert stopped.value.code == 0
    assert "molino train" in capsys.readouterr().out
