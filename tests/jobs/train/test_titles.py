"""`molino train titles` on a small run made by hand; with TensorFlow, and with JAX where it is installed."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molino.jobs.run.lock import Lock
from molino.jobs.run.recheck import verify
from molino.schemas.training import PREDICTIONS
from tests import programs
from tests.docs.test_counters import undeclared
from tests.jobs.train.conftest import figures, file_of, molino, quickly, train
from tests.training.made_titles import WORDS, write_titles

ROOT = Path(__file__).resolve().parents[3]
FASTER = ("--batch", "32", "--rate", "0.05")
LONG = ("--epochs", "5", "--patience", "9")
OF_EACH = {
    "linear": ("--architecture", "linear", *FASTER),
    "mlp-512": (),
    "mlp-2048": ("--architecture", "mlp-2048"),
    "phrases": ("--architecture", "phrases", *FASTER),
}


@pytest.mark.slow
@pytest.mark.parametrize("architecture", OF_EACH)
def test_a_classifier_is_trained_and_written(trained, titles_run, architecture):
    import keras

    output = trained(*OF_EACH[architecture])
    metrics = figures(output)
    assert metrics["test"]["balanced_accuracy"] > 0.85
    figure = metrics["test"]["balanced_accuracy"]
    assert metrics["test"]["low"] - 1e-9 <= figure <= metrics["test"]["high"] + 1e-9
    assert len(metrics["epochs"]["all"]) == 3
    errors = {name for name in metrics["test"] if name.startswith("calibration_error")}
    assert errors == {"calibration_error_of_scores"}
    table = pq.read_table(file_of(output))
    assert table.schema.equals(PREDICTIONS, check_metadata=True)
    rows = pq.read_table(titles_run / "titles", columns=["id", "label", "split"], partitioning=None).to_pylist()
    asked = {row["id"]: row for row in rows if row["split"] != "train"}
    assert len(asked) == len(table) == 240
    assert all(asked[row["id"]].items() <= row.items() for row in table.to_pylist())
    right = {split: [] for split in ("validation", "test")}
    for row in table.to_pylist():
        assert row["prediction"] == row["top_labels"][0]
        assert sorted(row["top_labels"]) == [0, 1, 2, 3]
        assert sum(row["top_scores"]) == pytest.approx(1, abs=1e-5)
        assert row["top_scores"] == sorted(row["top_scores"], reverse=True)
        assert row["top_probabilities"] is None
        right[row["split"]].append(row["prediction"] == row["label"])
    assert np.mean(right["test"]) == pytest.approx(metrics["test"]["accuracy"])
    with zipfile.ZipFile(output / "model.keras") as archive:
        inside = json.loads(archive.read("molino.json"))
    assert inside["manifest_sha256"] == (titles_run / "_SUCCESS").read_text().strip() == metrics["run"]
    assert inside["categories"] == list(WORDS)
    model = keras.saving.load_model(output / "model.keras", compile=False)
    assert model.count_params() == metrics["parameters"]
    manifest, wrong = verify(str(output))
    assert wrong == []
    assert undeclared(manifest) == set()
    assert (manifest["job"], manifest["counters"]["train"]) == ("train titles", 360)
    assert os.listdir(output.parent) == ["out"]


@pytest.mark.slow
def test_a_training_is_done_once_and_replaced_on_demand(trained, titles_run, tmp_path, capsys):
    output = trained("--embedding", "en", "--balance", "none")
    before = (output / "_manifest.json").read_bytes()
    assert train(titles_run, output, "--embedding", "en", "--balance", "none") == 0
    assert "already holds this run" in capsys.readouterr().out
    for options in (["--seed", "1"], ["--embedding", "es"]):
        assert train(titles_run, output, *options) == 3
        assert "holds a finished run with other options (" in capsys.readouterr().err
    assert (output / "_manifest.json").read_bytes() == before
    given = ["--embedding", "en", "--architecture", "linear"]
    assert train(titles_run, tmp_path / "out", *given, "--epochs", "1") == 0
    old = json.loads((tmp_path / "out/_manifest.json").read_text())
    assert train(titles_run, tmp_path / "out", *given, "--epochs", "2", "--overwrite") == 0
    manifest, wrong = verify(str(tmp_path / "out"))
    assert wrong == []
    assert manifest["previous"] == [[file["path"] for file in old["datasets"]["predictions"]["files"]]]
    assert len(figures(tmp_path / "out")["epochs"]["all"]) == 2


def test_a_plan_tells_what_is_read_and_written(titles_run, tmp_path, capsys):
    words = ["plan", "train", "titles", "--input", titles_run, "--architecture", "phrases"]
    assert molino(*words, "--output", tmp_path / "out") == 0
    told = capsys.readouterr().out
    assert "reads  360 titles to train on, of 4 categories" in told
    assert "serving/" in told
    assert "takes  tens of seconds" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_saved_keras_model_gives_the_predictions(trained, titles_run):
    import keras

    output = trained()
    model = keras.saving.load_model(output / "model.keras", compile=False)
    assert [each.name for each in model.inputs] == ["es", "en"]
    rows = pq.read_table(titles_run / "titles", partitioning=None)
    vectors = [np.stack(rows[name].to_numpy()).astype(np.float32) for name in ("es", "en")]
    found = dict(zip(rows["id"].to_pylist(), np.argmax(model.predict(vectors, verbose=0), 1).tolist(), strict=True))
    for row in pq.read_table(file_of(output)).to_pylist():
        assert found[row["id"]] == row["prediction"]


def start(folder, output, *options, **environment):
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return programs.popen(["molino", "train", "titles", *quickly(folder, output, options)], env=env, cwd=ROOT)


def history_of(output):
    """Return the epochs that the state of a stopped training has."""
    (state,) = output.glob("_staging/units-*/all.last.state")
    return json.loads(np.load(state)["known"].tobytes())["history"]


def assert_same(one, other):
    assert figures(one) == figures(other)
    digests = [json.loads((each / "_manifest.json").read_text())["digest"] for each in (one, other)]
    assert digests[0] == digests[1]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_training_goes_on_and_ends_the_same(trained, titles_run, tmp_path, capsys, number):
    killed = start(titles_run, tmp_path / "out", *LONG)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "out").glob("_staging/units-*/all.last.state")):
        assert time.monotonic() < deadline
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.02)
    killed.send_signal(number)
    _, error = killed.communicate()
    assert killed.returncode == (143 if number == signal.SIGTERM else -9)
    assert error == (b"molino: stopped; the output is as its last complete run left it\n" if number == 15 else b"")
    assert not (tmp_path / "out/_manifest.json").exists()
    assert 1 <= len(history_of(tmp_path / "out")) < 5
    capsys.readouterr()
    assert train(titles_run, tmp_path / "out", *LONG) == 0
    assert "taken up  all after epoch" in capsys.readouterr().out
    assert_same(tmp_path / "out", trained(*LONG))
    assert not (tmp_path / "out/_staging").exists()
    assert verify(str(tmp_path / "out"))[1] == []


@pytest.mark.slow
def test_a_training_that_fails_goes_on_and_ends_the_same(trained, titles_run, tmp_path, capsys, monkeypatch):
    from molino.training.phrases import ByPhrases

    options = ("--architecture", "phrases", "--members", "2", *LONG)
    train_epoch = ByPhrases.train_epoch

    def fail(self, number, report):
        if number == 2:
            raise OSError(28, "No space left on device")
        return train_epoch(self, number, report)

    monkeypatch.setattr(ByPhrases, "train_epoch", fail)
    assert train(titles_run, tmp_path / "out", *options) == 1
    assert "the disk is full; free some space" in capsys.readouterr().err
    assert len(history_of(tmp_path / "out")) == 2
    assert "No space left" in (tmp_path / "out/_staging/last_error.json").read_text()
    monkeypatch.undo()
    monkeypatch.setattr("molino.jobs.runners.exits.leave", sys.exit)
    assert train(titles_run, tmp_path / "out", *options) == 0
    assert "taken up  all after epoch 2" in capsys.readouterr().out
    assert_same(tmp_path / "out", trained(*options))


@pytest.mark.slow
def test_layers_may_compute_in_half_precision(trained):
    import keras

    output = trained("--embedding", "es", "--precision", "bfloat16")
    assert figures(output)["test"]["balanced_accuracy"] > 0.85
    model = keras.saving.load_model(output / "model.keras", compile=False)
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.compute_dtype for layer in dense] == ["bfloat16", "bfloat16", "float32"]
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}


@pytest.mark.slow
def test_one_classifier_a_language(tmp_path, titles_run, capsys, monkeypatch):
    from molino.training import fit

    asked, ask = [], fit.ask

    def listen(source, learner, split, recipe, language=None, **how):
        answers = ask(source, learner, split, recipe, language, **how)
        asked.append((language, set(answers.languages)))
        return answers

    monkeypatch.setattr(fit, "ask", listen)
    assert train(titles_run, tmp_path / "out", "--per-language", "--embedding", "es") == 0
    metrics = figures(tmp_path / "out")
    assert sorted(metrics["epochs"]) == ["all", "portuguese", "spanish"]
    choice = metrics["choice"]
    assert choice["better"] == ("each" if choice["validation"]["each"] > choice["validation"]["one"] else "one")
    assert metrics["test"]["balanced_accuracy"] == pytest.approx(choice["test"][choice["better"]])
    written = {path.name for path in (tmp_path / "out").glob("*.keras")}
    extra = {"model-portuguese.keras", "model-spanish.keras"} if choice["better"] == "each" else set()
    assert written == {"model.keras"} | extra
    assert "is better on validation" in capsys.readouterr().out
    # it is trained and chosen on its own titles
    for language in ("portuguese", "spanish"):
        assert [of for one, of in asked if one == language] == [{language}] * 3
    # of as many categories, from as clear vectors: a mean over all titles would be half of it
    assert metrics["epochs"]["spanish"][0]["loss"] > 0.7 * metrics["epochs"]["all"][0]["loss"]


@pytest.mark.slow
def test_balance_after_training_takes_the_shares_away(trained, titles_run):
    output = {balance: trained("--embedding", "en", "--balance", balance) for balance in ("none", "logits")}
    one, other = (
        {row["id"]: row for row in pq.read_table(file_of(output[balance])).to_pylist()}
        for balance in ("none", "logits")
    )
    rows = pq.read_table(titles_run / "labels", partitioning=None).to_pylist()
    prior = np.log(np.array([row["train"] for row in rows]) / sum(row["train"] for row in rows))
    # the option keeps the best epoch by its own figures: the last of both is compared
    one_best, other_best = (
        np.argmax([epoch["validation_balanced_accuracy"] for epoch in figures(output[b])["epochs"]["all"]])
        for b in ("none", "logits")
    )
    if one_best == other_best:
        for id_, row in one.items():
            plain = np.empty(4)
            assert row["top_probabilities"] == row["top_scores"]
            plain[row["top_labels"]] = np.log(row["top_scores"])
            assert np.argmax(plain - prior) == other[id_]["prediction"]


@pytest.mark.slow
def test_titles_of_categories_that_training_has_none_of_count_as_wrong(tmp_path):
    write_titles(tmp_path / "run", unseen=10)
    assert train(tmp_path / "run", tmp_path / "out", "--embedding", "es") == 0
    metrics = figures(tmp_path / "out")
    table = pq.read_table(file_of(tmp_path / "out")).filter(pa.compute.field("split") == "test")
    recalls = []
    for label in (-1, 0, 1, 2, 3):
        own = [row for row in table.to_pylist() if row["label"] == label]
        recalls.append(np.mean([row["prediction"] == label for row in own]))
    assert recalls[0] == 0
    assert metrics["test"]["balanced_accuracy"] == pytest.approx(np.mean(recalls))


def spoil_unfinished(folder):
    (folder / "_SUCCESS").unlink()


def spoil_byte(folder):
    path = next((folder / "titles").glob("part-00001*"))
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


def spoil_shard(folder):
    next((folder / "titles").glob("part-00001*")).unlink()


def spoil_version(folder):
    write_titles(folder, version=3)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_unfinished, "is not finished: there is no _SUCCESS"),
        (spoil_byte, "part-00001-of-00002-0123abcd.parquet changed after it was written"),
        (spoil_shard, "part-00001-of-00002-0123abcd.parquet is missing"),
        (spoil_version, "has schema titles.titles version 3, this program reads titles.titles version 1 or 2"),
    ],
)
def test_a_run_that_is_not_what_was_written_is_refused(tmp_path, run_of_titles, capsys, spoil, message):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/metrics.json").write_text("{}")
    spoil(run_of_titles)
    assert train(run_of_titles, tmp_path / "out", "--overwrite") == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert (tmp_path / "out/metrics.json").read_text() == "{}"
    assert sorted(os.listdir(tmp_path / "out")) == ["metrics.json"]


@pytest.mark.slow
def test_a_page_that_rots_while_it_is_read_is_named(tmp_path, run_of_titles, capsys, monkeypatch):
    from molino.training import classifier

    fit = classifier.ByVectors.train_epoch

    def spoil_and_fit(self, number, report):
        path = next((run_of_titles / "titles").glob("part-00001*"))
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(100)
            file.write(b"x" * (size // 2))
        return fit(self, number, report)

    monkeypatch.setattr(classifier.ByVectors, "train_epoch", spoil_and_fit)
    assert train(run_of_titles, tmp_path / "out", "--embedding", "es") == 1
    error = capsys.readouterr().err
    assert "part-00001-of-00002-0123abcd.parquet" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out/_manifest.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--embedding", "fr"], "has no embedding fr; it has: es, en"),
        (["--embedding", "es", "--model", "en=/nowhere"], "--model en=...: give one for each of es, or none"),
        (["--model", "es=/nowhere"], "--model en=...: give one for each of es, en, or none"),
    ],
)
def test_options_that_do_not_fit_the_run(tmp_path, titles_run, capsys, options, message):
    assert train(titles_run, tmp_path / "out", *options) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--architecture", "phrases", "--embedding", "es"], "--architecture phrases takes titles, no --embedding"),
        (["--architecture", "phrases", "--fine-tune"], "--fine-tune needs --model NAME=DIR"),
        (["--architecture", "phrases", "--balance", "logits"], "--balance loss or none and --precision float32"),
        (["--architecture", "linear", "--precision", "bfloat16"], "--precision has no effect"),
        (["--members", "2"], "--members is an option of --architecture phrases, not of mlp-512"),
        (["--seed", "1", "--seed", "2"], "--seed is given twice"),
        (["--seed", "99999999999999"], "must be at most 2,147,483,647"),
        (["--fine-tune", "--per-language"], "goes neither with --per-language nor with --architecture phrases"),
        (["--fine-tune"], "--fine-tune needs --model"),
    ],
)
def test_options_that_do_not_fit_each_other(tmp_path, capsys, options, message):
    assert train(tmp_path, tmp_path / "out", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_phrases_need_features(tmp_path, titles_run, capsys):
    assert train(titles_run, tmp_path / "out", "--architecture", "phrases", "--min-count", 100_000) == 1
    assert "lower --min-count" in capsys.readouterr().err


def test_an_output_of_something_else_is_left_alone(tmp_path, titles_run, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").touch()
    assert train(titles_run, tmp_path / "out", "--overwrite") == 3
    assert "was not written by this program (it holds mine)" in capsys.readouterr().err
    assert train(titles_run, titles_run / "out") == 3
    assert f"lies inside the run in {titles_run}" in capsys.readouterr().err
    assert train(titles_run, "gs://bucket/out") == 1
    assert "is written to a local folder" in capsys.readouterr().err


def test_two_trainings_for_one_output(tmp_path, titles_run, capsys, monkeypatch):
    monkeypatch.setattr(Lock, "BEAT", 0.3)
    with Lock(str(tmp_path / "out"), "1" * 32):
        assert train(titles_run, tmp_path / "out") == 75
    assert "another run is at work" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_another_backend_trains_as_well(tmp_path, titles_run):
    outputs = {"es": ["--embedding", "es"], "again": ["--embedding", "es"], "mlp": ["--architecture", "mlp-2048"]}
    program = "import json, sys; from molino.jobs.cli import main; sys.exit(sum(map(main, json.loads(sys.argv[1]))))"
    words = [["train", "titles", *quickly(titles_run, tmp_path / name, each)] for name, each in outputs.items()]
    command = [sys.executable, "-c", program, json.dumps(words)]
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in outputs:
        metrics = figures(tmp_path / name)
        assert metrics["backend"] == "jax"
        assert metrics["test"]["balanced_accuracy"] > 0.85
    assert_same(tmp_path / "es", tmp_path / "again")


@pytest.mark.parametrize("option", ["--input", "--output"])
def test_an_empty_path_is_an_unset_variable(tmp_path, capsys, option):
    words = {"--input": str(tmp_path), "--output": str(tmp_path / "out")} | {option: ""}
    assert molino("train", "titles", *(word for pair in words.items() for word in pair)) == 2
    assert "must not be empty; is a variable unset?" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["/", ".", "file", "pipe", "o" * 300])
def test_an_input_that_is_no_run_is_one_line(tmp_path, capsys, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    assert molino("train", "titles", "--input", place, "--output", tmp_path / "../out") == 1
    error = capsys.readouterr().err
    assert error.startswith("molino: ")
    assert error.count("\n") == 1
