import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from molino.jobs.run.recheck import verify
from molino.schemas import name_of
from tests.docs.test_counters import undeclared
from tests.jobs.train.conftest import file_of, molino

ROOT = Path(__file__).resolve().parents[3]
MELI = ROOT.parent / "shared/data/meli"
MODELS = ["nnlm-es-dim50", "nnlm-en-dim50", "nnlm-es-dim128", "nnlm-en-dim128"]


def made_experiments(folder, shift=0.1):
    """Write experiments in which models for es are right more often; return (predictions, metadata)."""
    random = np.random.default_rng(0)
    rows, known = [], []
    for number, model in enumerate(MODELS * 4):
        name = f"experiment {number:02d}"
        labels = random.integers(0, 8, 400)
        right = random.random(400) < 0.7 + shift * ("es" in model)
        found = np.where(right, labels, (labels + 1) % 8)
        rows += [(name, f"C{a}", f"C{b}") for a, b in zip(labels, found, strict=True)]
        recalls = [np.mean(right[labels == label]) for label in range(8)]
        figure = float(np.mean(recalls))
        known.append({"experiment": name, "language_model": model, "published_balanced_accuracy": figure})
    table = pa.table(dict(zip(("experiment", "category", "prediction"), zip(*rows, strict=True), strict=True)))
    pq.write_table(table, folder / "p.parquet")
    (folder / "m.json").write_text(json.dumps(known))
    return folder / "p.parquet", folder / "m.json"


def run(predictions, metadata, output, *options):
    words = ["--published", predictions, "--metadata", metadata, "--output", output, "--quiet", *options]
    return molino("train", "compare", *words)


def test_published_figures_are_found_again(tmp_path, capsys):
    predictions, metadata = made_experiments(tmp_path)
    assert run(predictions, metadata, tmp_path / "out", "--draws", "300") == 0
    told = capsys.readouterr().out
    assert "16 of 16 figures are the same to 1e-09" in told
    assert "Spanish models score +0." in told
    assert "Nothing can be said of normalization: by their names" in told
    trials = pq.read_table(file_of(tmp_path / "out", "trials"))
    assert name_of(trials.schema) == ("training.trials", 1)
    for row in trials.to_pylist():
        assert row["balanced_accuracy"] == pytest.approx(row["published"], abs=1e-9)
        assert row["low"] < row["balanced_accuracy"] < row["high"]
    models = pq.read_table(file_of(tmp_path / "out", "models")).to_pylist()
    means = [row["balanced_accuracy"] for row in models]
    assert means == sorted(means, reverse=True)
    effects = {row["factor"]: row for row in pq.read_table(file_of(tmp_path / "out", "effects")).to_pylist()}
    assert (effects["language"]["high"], effects["language"]["strata"], effects["language"]["trials"]) == ("es", 2, 16)
    assert effects["language"]["holm"] < 0.01 < 0.05 < effects["dim"]["holm"]
    assert effects["language"]["low_bound"] > 0 > effects["dim"]["low_bound"]


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    predictions, metadata = made_experiments(tmp_path)
    for name in ("a", "b"):
        assert run(predictions, metadata, tmp_path / name, "--draws", "100") == 0
    for name in ("trials", "models", "effects"):
        assert file_of(tmp_path / "a", name).read_bytes() == file_of(tmp_path / "b", name).read_bytes()
    for output in ("a", "b"):
        manifest, wrong = verify(str(tmp_path / output))
        assert (wrong, undeclared(manifest)) == ([], set())
    assert (tmp_path / "a/comparison.json").read_bytes() == (tmp_path / "b/comparison.json").read_bytes()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p, m: m.write_text("{"), "is not JSON; it must be a list of experiments"),
        (lambda p, m: m.write_text('[{"experiment": "a"}]'), "entry 1: it must be a list of experiments"),
        (
            lambda p, m: m.write_text(json.dumps(json.loads(m.read_text()) * 2)),
            "lists the experiment experiment 00 twice",
        ),
        (lambda p, m: pq.write_table(pa.table({"experiment": ["a"]}), p), "has no column 'category'"),
        (lambda p, m: m.unlink(), "there is no file "),
        (lambda p, m: m.write_text("[]"), "is in only one of"),
        (lambda p, m: p.write_text("no parquet"), "cannot read"),
        (lambda p, m: p.unlink(), "there is no file "),
    ],
    ids=["json", "key", "twice", "column", "no-metadata", "experiment", "parquet", "missing"],
)
def test_what_cannot_be_read_leaves_nothing(tmp_path, capsys, spoil, message):
    predictions, metadata = made_experiments(tmp_path)
    spoil(predictions, metadata)
    assert run(predictions, metadata, tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_output_is_replaced_only_when_asked(tmp_path, capsys):
    predictions, metadata = made_experiments(tmp_path)
    assert run(predictions, metadata, tmp_path / "out", "--draws", "100") == 0
    assert run(predictions, metadata, tmp_path / "out", "--draws", "100") == 0
    assert "already holds this run" in capsys.readouterr().out
    assert run(predictions, metadata, tmp_path / "out", "--draws", "101") == 3
    assert "add --overwrite" in capsys.readouterr().err
    assert run(predictions, metadata, tmp_path / "out", "--draws", "101", "--overwrite") == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").touch()
    assert run(predictions, metadata, tmp_path / "mine", "--overwrite") == 3


@pytest.mark.slow
@pytest.mark.skipif(not MELI.exists(), reason="the published experiments are not in ../shared")
def test_all_28_published_figures_and_the_three_findings(tmp_path):
    assert run(MELI / "predictions.parquet", MELI / "experiments.json", tmp_path / "out", "--draws", "1000") == 0
    trials = pq.read_table(file_of(tmp_path / "out", "trials")).to_pylist()
    assert len(trials) == 28
    assert max(abs(row["balanced_accuracy"] - row["published"]) for row in trials) <= 1e-9
    effects = {row["factor"]: row for row in pq.read_table(file_of(tmp_path / "out", "effects")).to_pylist()}
    for factor, high in (("language", "es"), ("normalized", "yes")):
        assert effects[factor]["high"] == high
        assert effects[factor]["low_bound"] > 0
        assert effects[factor]["holm"] < 0.01
    assert effects["dim"]["high"] == "128"
    assert 0.01 < effects["dim"]["holm"] < 0.1


@pytest.mark.slow
def test_every_embedding_of_a_run_is_trained_on(tmp_path, titles_run, capsys):
    words = ["--input", titles_run, "--output", tmp_path / "out", "--repeats", "2", "--draws", "200", "--quiet"]
    budget = ["--architecture", "linear", "--epochs", "4", "--batch", "32", "--rate", "0.02"]
    assert molino("train", "compare", *words, *budget) == 0
    assert "Spanish models score +0." in capsys.readouterr().out
    trials = pq.read_table(file_of(tmp_path / "out", "trials")).to_pylist()
    assert [(row["trial"], row["titles"], row["classes"]) for row in trials] == [
        (name, 120, 4) for name in ("es 1", "en 1", "es 2", "en 2")
    ]
    assert all(row["published"] is None and row["epochs"] == 4 and row["seconds"] is None for row in trials)
    assert molino("train", "compare", *words, *budget, "--timings", "--overwrite") == 0
    timed = pq.read_table(file_of(tmp_path / "out", "trials")).to_pylist()
    assert all(row.pop("seconds") > 0 and row.pop("peak_bytes") > 0 for row in timed)
    assert timed == [{name: row[name] for name in timed[0]} for row in trials]
    models = pq.read_table(file_of(tmp_path / "out", "models")).to_pylist()
    assert [(row["model"], row["language"], row["dim"], row["repeats"]) for row in models] == [
        ("es", "es", "6", 2),
        ("en", "en", "6", 2),
    ]
    assert models[0]["low"] <= models[0]["balanced_accuracy"] <= models[0]["high"]
    assert os.listdir(tmp_path) == ["out"]


def test_few_trials_say_that_they_are_few(tmp_path, capsys):
    predictions, metadata = made_experiments(tmp_path)
    known = json.loads(metadata.read_text())[:4]
    metadata.write_text(json.dumps(known))
    table = pq.read_table(predictions)
    kept = pc.is_in(table["experiment"], value_set=pa.array([each["experiment"] for each in known]))
    pq.write_table(table.filter(kept), predictions)
    assert run(predictions, metadata, tmp_path / "out", "--draws", "100") == 0
    told = capsys.readouterr().out
    assert "Of language no p-value below 0.5 can come from so few trials" in told


@pytest.mark.parametrize(
    "words", [["--output", "x"], ["--published", "p", "--metadata", "m", "--output", "x", "--repeats", "2"]]
)
def test_a_command_line_that_says_too_little_or_too_much(capsys, words):
    assert molino("train", "compare", *words) == 2
    assert capsys.readouterr().err.count("\n") == 1
