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

from molino.schemas.training import PREDICTIONS
from molino.training import titles
from tests.training.made_titles import WORDS, write_titles

ROOT = Path(__file__).resolve().parents[2]
QUICK = {"--epochs": "3", "--batch": "64", "--rate": "0.01"}


def quickly(folder, output, options):
    """Return the words of a command; of the quick options those that are not given otherwise."""
    words = ["--input", folder, "--output", output, "--quiet", *options]
    return [*map(str, words), *(word for flag, value in QUICK.items() if flag not in options for word in (flag, value))]


def train(folder, output, *options):
    return titles.main(quickly(folder, output, options))


def start(folder, output, *options, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "molino.training.titles", *quickly(folder, output, options)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, seconds=150):
    """Wait for a training, which must end well."""
    _, error = process.communicate(timeout=seconds)
    assert process.returncode == 0, error


def figures(output):
    """Return metrics.json without the times."""
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics.pop("times")["all"][0]["seconds"] > 0
    return metrics


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["linear", "mlp-512", "mlp-2048", "phrases"])
def test_a_classifier_is_trained_and_written(tmp_path, run_of_titles, capsys, architecture):
    import keras

    more = ["--batch", 32, "--rate", 0.05] if architecture in ("linear", "phrases") else []
    assert train(run_of_titles, tmp_path / "out", "--architecture", architecture, *more) == 0
    told = capsys.readouterr().out
    assert "serving  not written" in told
    metrics = figures(tmp_path / "out")
    assert metrics["test"]["balanced_accuracy"] > 0.85
    figure = metrics["test"]["balanced_accuracy"]
    assert metrics["test"]["low"] - 1e-9 <= figure <= metrics["test"]["high"] + 1e-9
    assert len(metrics["epochs"]["all"]) == 3
    errors = {name for name in metrics["test"] if name.startswith("calibration_error")}
    assert errors == {"calibration_error_of_scores"}
    table = pq.read_table(tmp_path / "out/predictions.parquet")
    assert table.schema.equals(PREDICTIONS, check_metadata=True)
    rows = pq.read_table(run_of_titles / "titles", columns=["id", "label", "split"], partitioning=None).to_pylist()
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
    with zipfile.ZipFile(tmp_path / "out/model.keras") as archive:
        inside = json.loads(archive.read("molino.json"))
    assert inside["manifest_sha256"] == (run_of_titles / "_SUCCESS").read_text().strip() == metrics["run"]
    assert inside["categories"] == list(WORDS)
    model = keras.saving.load_model(tmp_path / "out/model.keras", compile=False)
    assert model.count_params() == metrics["parameters"]
    assert set(os.listdir(tmp_path)) - {"cache"} == {"out", "run"}


@pytest.mark.slow
def test_the_saved_keras_model_gives_the_predictions(tmp_path, run_of_titles):
    import keras

    assert train(run_of_titles, tmp_path / "out", "--embedding", "en", "--embedding", "es") == 0
    model = keras.saving.load_model(tmp_path / "out/model.keras", compile=False)
    assert [each.name for each in model.inputs] == ["en", "es"]
    rows = pq.read_table(run_of_titles / "titles", partitioning=None)
    vectors = [np.stack(rows[name].to_numpy()).astype(np.float32) for name in ("en", "es")]
    found = dict(zip(rows["id"].to_pylist(), np.argmax(model.predict(vectors, verbose=0), 1).tolist(), strict=True))
    for row in pq.read_table(tmp_path / "out/predictions.parquet").to_pylist():
        assert found[row["id"]] == row["prediction"]


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--architecture", "mlp-512"], ["--architecture", "phrases", "--members", "2"]])
def test_a_killed_training_goes_on_and_ends_the_same(tmp_path, run_of_titles, options):
    options = [*options, "--epochs", "5", "--patience", "9"]
    whole = start(run_of_titles, tmp_path / "whole", *options)
    finish(whole)
    killed = start(run_of_titles, tmp_path / "out", *options)
    deadline = time.monotonic() + 90
    while not list(tmp_path.glob("out.*.checkpoint/all.state.npz")):
        assert time.monotonic() < deadline
        assert killed.poll() is None
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "out").exists()
    (kept,) = tmp_path.glob("out.*.checkpoint")
    known = json.loads(np.load(kept / "all.state.npz")["known"].tobytes())
    assert 1 <= len(known["history"]) < 5
    again = start(run_of_titles, tmp_path / "out", *options)
    finish(again)
    assert figures(tmp_path / "out") == figures(tmp_path / "whole")
    for name in ("predictions.parquet",):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list(tmp_path.glob("*.checkpoint"))


@pytest.mark.slow
def test_layers_may_compute_in_half_precision(tmp_path, run_of_titles):
    import keras

    assert train(run_of_titles, tmp_path / "out", "--embedding", "es", "--precision", "bfloat16") == 0
    assert figures(tmp_path / "out")["test"]["balanced_accuracy"] > 0.85
    model = keras.saving.load_model(tmp_path / "out/model.keras", compile=False)
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.compute_dtype for layer in dense] == ["bfloat16", "bfloat16", "float32"]
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}


@pytest.mark.slow
def test_one_classifier_a_language(tmp_path, run_of_titles, capsys):
    assert train(run_of_titles, tmp_path / "out", "--per-language", "--embedding", "es") == 0
    metrics = figures(tmp_path / "out")
    assert sorted(metrics["epochs"]) == ["all", "portuguese", "spanish"]
    choice = metrics["choice"]
    assert choice["better"] == ("each" if choice["validation"]["each"] > choice["validation"]["one"] else "one")
    assert metrics["test"]["balanced_accuracy"] == pytest.approx(choice["test"][choice["better"]])
    written = {path.name for path in (tmp_path / "out").glob("*.keras")}
    extra = {"model-portuguese.keras", "model-spanish.keras"} if choice["better"] == "each" else set()
    assert written == {"model.keras"} | extra
    assert "is better on validation" in capsys.readouterr().out


@pytest.mark.slow
def test_balance_after_training_takes_the_shares_away(tmp_path, run_of_titles):
    for balance in ("none", "logits"):
        assert train(run_of_titles, tmp_path / balance, "--embedding", "en", "--balance", balance) == 0
    one, other = (
        {row["id"]: row for row in pq.read_table(tmp_path / balance / "predictions.parquet").to_pylist()}
        for balance in ("none", "logits")
    )
    rows = pq.read_table(run_of_titles / "labels", partitioning=None).to_pylist()
    prior = np.log(np.array([row["train"] for row in rows]) / sum(row["train"] for row in rows))
    # the option keeps the best epoch by its own figures: the last of both is compared
    one_best, other_best = (
        np.argmax([epoch["validation_balanced_accuracy"] for epoch in figures(tmp_path / b)["epochs"]["all"]])
        for b in ("none", "logits")
    )
    if one_best == other_best:
        for id_, row in one.items():
            plain = np.empty(4)
            assert row["top_probabilities"] == row["top_scores"]
            plain[row["top_labels"]] = np.log(row["top_scores"])
            assert np.argmax(plain - prior) == other[id_]["prediction"]


@pytest.mark.slow
def test_titles_of_categories_that_training_has_none_of_count_as_wrong(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_titles(tmp_path / "run", unseen=10)
    assert train(tmp_path / "run", tmp_path / "out", "--embedding", "es") == 0
    metrics = figures(tmp_path / "out")
    table = pq.read_table(tmp_path / "out/predictions.parquet").filter(pa.compute.field("split") == "test")
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
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--embedding", "fr"], "has no embedding fr; it has: es, en"),
        (["--embedding", "es", "--model", "en=/nowhere"], "--model en=...: that embedding is not trained on"),
        (["--model", "es=/nowhere"], "--model: there is none for the embedding en"),
    ],
)
def test_options_that_do_not_fit_the_run(tmp_path, run_of_titles, capsys, options, message):
    assert train(run_of_titles, tmp_path / "out", *options) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--architecture", "phrases", "--embedding", "es"], "--architecture phrases takes titles, no --embedding"),
        (["--architecture", "phrases", "--fine-tune"], "--fine-tune trains the tables of embeddings"),
        (["--architecture", "phrases", "--balance", "logits"], "takes --balance loss or none"),
        (["--architecture", "linear", "--precision", "bfloat16"], "--precision is of hidden layers"),
        (["--members", "2"], "--members is an option of --architecture phrases, not of mlp-512"),
        (["--seed", "1", "--seed", "2"], "--seed is given twice"),
        (["--seed", "99999999999999"], "must be at most 2,147,483,647"),
        (["--fine-tune", "--per-language"], "do not go together"),
        (["--fine-tune"], "--fine-tune needs --model"),
    ],
)
def test_options_that_do_not_fit_each_other(tmp_path, capsys, options, message):
    with pytest.raises(SystemExit) as stopped:
        train(tmp_path, tmp_path / "out", *options)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_phrases_need_features(tmp_path, run_of_titles, capsys):
    assert train(run_of_titles, tmp_path / "out", "--architecture", "phrases", "--min-count", 100_000) == 1
    assert "lower --min-count" in capsys.readouterr().err


@pytest.mark.slow
def test_a_language_s_classifier_is_trained_and_chosen_on_its_own_titles(tmp_path, run_of_titles, monkeypatch):
    from molino.training import fit

    asked, ask = [], fit.ask

    def listen(source, learner, split, recipe, language=None, **how):
        answers = ask(source, learner, split, recipe, language, **how)
        asked.append((language, set(answers.languages), answers.loss))
        return answers

    monkeypatch.setattr(fit, "ask", listen)
    assert train(run_of_titles, tmp_path / "out", "--per-language", "--embedding", "es") == 0
    for language in ("portuguese", "spanish"):
        assert [of for one, of, _ in asked if one == language] == [{language}] * 3
    epochs = figures(tmp_path / "out")["epochs"]
    # of as many categories, from as clear vectors: a mean over all titles would be half of it
    assert epochs["spanish"][0]["loss"] > 0.7 * epochs["all"][0]["loss"]


def test_an_output_of_something_else_is_left_alone(tmp_path, run_of_titles, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").touch()
    assert train(run_of_titles, tmp_path / "out", "--overwrite") == 3
    assert "is there and is no classifier" in capsys.readouterr().err


@pytest.mark.slow
def test_two_trainings_for_one_output(tmp_path, run_of_titles):
    first = start(run_of_titles, tmp_path / "out", "--epochs", "500", "--patience", "500", "--batch", "4")
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out.*.checkpoint/lock")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second = start(run_of_titles, tmp_path / "out", "--epochs", "500", "--patience", "500", "--batch", "4")
    _, error = second.communicate(timeout=60)
    assert second.returncode == 3
    assert "another process trains for" in error
    first.terminate()
    _, error = first.communicate(timeout=60)
    assert first.returncode == 143
    assert "molino: stopped; what was at --output is untouched" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_another_backend_trains_as_well(tmp_path, run_of_titles):
    for options in (["--embedding", "es"], ["--architecture", "mlp-2048"]):
        output = tmp_path / options[-1]
        process = start(run_of_titles, output, *options, KERAS_BACKEND="jax")
        finish(process)
        metrics = figures(output)
        assert metrics["backend"] == "jax"
        assert metrics["test"]["balanced_accuracy"] > 0.85
    again = start(run_of_titles, tmp_path / "again", "--embedding", "es", KERAS_BACKEND="jax")
    finish(again)
    assert figures(tmp_path / "again") == figures(tmp_path / "es")


def test_help_loads_nothing_heavy():
    program = """
import contextlib, sys
from molino.training import titles
with contextlib.suppress(SystemExit):
    titles.main(["--help"])
print(sorted({"tensorflow", "keras", "pyarrow", "numpy", "apache_beam"} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("option", ["--input", "--output"])
def test_an_empty_path_is_an_unset_variable(tmp_path, capsys, option):
    words = {"--input": str(tmp_path), "--output": str(tmp_path / "out")} | {option: ""}
    with pytest.raises(SystemExit) as stopped:
        titles.main([word for pair in words.items() for word in pair])
    assert stopped.value.code == 2
    assert "must not be empty; is a variable unset?" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["/", ".", "file", "pipe", "o" * 300])
def test_an_input_that_is_no_run_is_one_line(tmp_path, capsys, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    assert titles.main(["--input", place, "--output", str(tmp_path / "../out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("molino: ")
    assert error.count("\n") == 1
