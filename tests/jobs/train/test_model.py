import csv
import dataclasses
import hashlib
import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molino.jobs.options import text_format
from molino.jobs.run.recheck import verify
from molino.jobs.train import model
from molino.schemas import field, schema
from molino.transforms.files.list_files import list_files
from molino.transforms.models.model_files import digest_model
from molino.transforms.text.sources import list_sources, settle_format
from tests import programs
from tests.docs.test_counters import undeclared
from tests.jobs.train.conftest import molino
from tests.training.made_run import write_tables

ROOT = Path(__file__).resolve().parents[3]
WORDS = {
    "TABLES": ["Mesa", "Ratona", "Comedor", "Roble"],
    "CHAIRS": ["Silla", "Apilable", "Jardín", "Oficina"],
    "CUPS": ["Taza", "Cerámica", "Café", "Jarro"],
}
TITLES = schema(
    "titles.titles",
    1,
    field("title", pa.string(), "Title"),
    field("category", pa.string(), "Category", nullable=True),
    field("split", pa.string(), "Split"),
)

SMALL = ["--dim", "8", "--epochs", "2", "--quiet"]


def make_titles(count, seed=0):
    numbers = random.Random(seed)
    made = []
    for _ in range(count):
        category = numbers.choice(sorted(WORDS))
        words = [*numbers.choices(WORDS[category], k=2), f"¡Mod{numbers.randrange(count)}!", "De"]
        numbers.shuffle(words)
        made.append((" ".join(words), category))
    return made


def write_csv(path, titles):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("title", "category"), *titles])


@pytest.fixture
def titles(tmp_path):
    # some are nothing but punctuation
    write_csv(tmp_path / "titles.csv", [*make_titles(297), *[("¡!", "CUPS")] * 3])
    return tmp_path / "titles.csv"


def run(*arguments):
    return molino("model", "train", *arguments)


def vocabulary_of(model):
    return (model / "assets/tokens.txt").read_text(encoding="utf-8").splitlines()


def tree(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("_")
    }


@pytest.mark.slow
@pytest.mark.parametrize("normalization", [False, True])
@pytest.mark.parametrize("supervised", [False, True])
def test_the_model_gives_the_vectors_of_its_table(tmp_path, titles, hub, capsys, normalization, supervised):
    import tensorflow as tf

    options = [*(["--normalization"] if normalization else []), *([] if supervised else ["--unsupervised"])]
    assert run("--input", titles, "--output", tmp_path / "model", *SMALL, *options) == 0
    told = capsys.readouterr().out
    assert "3 categories" in told if supervised else "neighbouring words" in told
    words = vocabulary_of(tmp_path / "model")
    assert "Mesa" in words
    assert any(word.startswith("¡") for word in words) != normalization
    model = hub.load(str(tmp_path / "model"))
    table = model.variables[0].numpy()
    buckets = len(table) - len(words)
    assert buckets == -(-len(words) // 40)
    assert np.isfinite(table).all()
    probes = ["Mesa Ratona", " Silla  de   Jardín ", "", "¡Taza! desconocida", "mesa"]
    for probe, found in zip(probes, model(probes).numpy(), strict=True):
        text = probe.replace("¡", "").replace("!", "") if normalization else probe
        tokens = [token for token in text.split(" ") if token] or [""]
        hashed = [len(words) + int(tf.strings.to_hash_bucket_fast(token, buckets)) for token in tokens]
        rows = [words.index(t) if t in words else bucket for t, bucket in zip(tokens, hashed, strict=True)]
        np.testing.assert_allclose(found, table[rows].sum(0) / np.sqrt(len(rows)), atol=1e-6)
    assert sorted(os.listdir(tmp_path)) == ["model", "titles.csv"]


def test_metrics_tell_every_epoch(tmp_path, titles, capsys):
    assert run("--input", titles, "--output", tmp_path / "model", *SMALL, "--validation", "0.2") == 0
    metrics = json.loads((tmp_path / "model/metrics.json").read_text())
    assert metrics["titles"] + metrics["validation_titles"] == 300
    assert metrics["validation_titles"] > 30
    assert metrics["categories"] == 3
    names = ("accuracy", "balanced_accuracy", "high", "loss", "low")
    assert [sorted(epoch) for epoch in metrics["epochs"]] == [["loss", *(f"validation_{name}" for name in names)]] * 2
    last = metrics["epochs"][-1]
    balanced, low, high = (last[f"validation_{name}"] for name in ("balanced_accuracy", "low", "high"))
    assert low <= balanced <= high
    told = capsys.readouterr().out
    assert f"validation balanced accuracy {balanced:.4f} ({low:.4f} to {high:.4f})\n" in told


def test_a_run_is_trained_on_by_its_training_split_alone(tmp_path):
    rows = []
    for number, (title, category) in enumerate(make_titles(300)):
        split = ("train", "train", "validation", "test")[number % 4]
        rows.append({"title": f"{title} {split} {split}", "category": category, "split": split})
    rows.append({"title": "sin sin categoría", "category": None, "split": "train"})
    rows.append({"title": "otra otra", "category": "ONLY_HERE", "split": "validation"})
    table = pa.Table.from_pylist(rows, schema=TITLES)
    write_tables(tmp_path / "run", "titles", TITLES, [table.slice(0, 100), table.slice(100)])
    assert run("--input", tmp_path / "run", "--output", tmp_path / "model", *SMALL) == 0
    words = vocabulary_of(tmp_path / "model")
    assert "train" in words
    assert not {"validation", "test", "sin", "otra"} & set(words)
    metrics = json.loads((tmp_path / "model/metrics.json").read_text())
    assert (metrics["titles"], metrics["validation_titles"], metrics["categories"]) == (150, 75, 3)


def test_a_run_that_is_not_finished(tmp_path, capsys):
    write_tables(tmp_path / "run", "titles", TITLES, [])
    (tmp_path / "run/_SUCCESS").unlink()
    assert run("--input", tmp_path / "run", "--output", tmp_path / "model", *SMALL) == 1
    assert "is not finished: there is no _SUCCESS" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_vocabulary_and_buckets_can_be_limited(tmp_path, titles, hub):
    options = ["--vocabulary", 5, "--buckets", 7, "--min-count", 1]
    assert run("--input", titles, "--output", tmp_path / "model", *SMALL, *options) == 0
    assert len(vocabulary_of(tmp_path / "model")) == 5
    assert hub.load(str(tmp_path / "model")).variables[0].shape == (12, 8)


def test_an_output_is_replaced_only_on_demand(tmp_path, titles, capsys):
    model = tmp_path / "model"
    assert run("--input", titles, "--output", model, *SMALL) == 0
    before = tree(model)
    # a model is what it computes: when it was grown, and by which attempt, is no part of its digest
    bare = shutil.copytree(model, tmp_path / "bare", ignore=shutil.ignore_patterns("_*"))
    assert digest_model(str(model)) == digest_model(str(bare))
    manifest, wrong = verify(str(model))
    assert (wrong, undeclared(manifest)) == ([], set())
    assert run("--input", titles, "--output", model, *SMALL) == 0
    assert "already holds this run" in capsys.readouterr().out
    assert run("--input", titles, "--output", model, *SMALL, "--seed", 1) == 3
    assert "with other options (seed 1, was 0); add --overwrite to replace it" in capsys.readouterr().err
    assert tree(model) == before
    assert run("--input", titles, "--output", model, *SMALL, "--seed", 1, "--overwrite") == 0
    assert verify(str(model))[1] == []
    assert tree(model) != before


def test_what_is_no_model_is_never_replaced(tmp_path, titles, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years")
    for output, code in {"mine": 3, "titles.csv": 1}.items():
        assert run("--input", titles, "--output", tmp_path / output, *SMALL, "--overwrite") == code
        assert "choose another --output" in capsys.readouterr().err
    assert (tmp_path / "mine/thesis.txt").read_text() == "years"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epoch", "3"], "no such option: --epoch; did you mean --epochs?"),
        (["--epoch=3"], "no such option: --epoch; did you mean --epochs?"),
        (["more"], "unexpected argument 'more'"),
        (["--dim", "0"], "argument --dim: must be at least 1, not 0"),
        (["--dim", "many"], "argument --dim: invalid whole number value: 'many'"),
        (["--validation", "1"], "argument --validation: must be from 0 to less than 1, not 1"),
        (["--rate", "0"], "argument --rate: must be above 0 and below 1, not 0"),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line(options, message, capsys):
    assert run("--input", "a", "--output", "b", *options) == 2
    assert capsys.readouterr().err == f"molino: {message}; see molino model train --help\n"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (None, [], "there is no file "),
        ("name\nMesa\n", [], "lacks the column 'title'"),
        ("title\n", [], "holds no titles to train on"),
        ('title\n"Mesa\n', [], "rows or more cannot be read ("),
        ("title,category\nMesa\n", [], "rows or more cannot be read (too_few_fields)"),
    ],
    ids=["missing", "column", "empty", "quote", "few"],
)
def test_an_input_that_cannot_be_used(tmp_path, capsys, text, options, message):
    if text is not None:
        (tmp_path / "t.csv").write_text(text)
    assert run("--input", tmp_path / "t.csv", "--output", tmp_path / "model", *SMALL, *options) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "model/_manifest.json").exists()


def test_an_output_that_cannot_be_written(tmp_path, titles, capsys):
    assert run("--input", titles, "--output", titles / "model", *SMALL) == 1
    assert f"{titles}" in capsys.readouterr().err


def test_no_model_appears_where_writing_fails(tmp_path, titles, capsys, monkeypatch):
    from molino.training import nnlm_export

    def fail(folder, *_, **__):
        Path(folder).mkdir(parents=True)
        raise OSError(28, "No space left on device", folder)

    monkeypatch.setattr(nnlm_export, "export_nnlm", fail)
    assert run("--input", titles, "--output", tmp_path / "model", *SMALL) == 1
    assert "the disk is full; free some space or write elsewhere" in capsys.readouterr().err
    # the note of why, where its work had begun
    assert not (tmp_path / "model").exists() or os.listdir(tmp_path / "model") == ["_staging"]


def start(*arguments, **environment):
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return programs.popen(["molino", "model", "train", *arguments], env=env, cwd=ROOT)


@pytest.mark.slow
def test_the_same_options_give_the_same_bytes(tmp_path, titles):
    for number in (1, 2):
        process = start("--input", titles, "--output", tmp_path / f"m{number}", *SMALL, PYTHONHASHSEED=str(number))
        _, error = process.communicate(timeout=240)
        assert process.returncode == 0, error
        assert error == b""
    assert tree(tmp_path / "m1") == tree(tmp_path / "m2")


@pytest.mark.slow
def test_a_stopped_training_leaves_no_model(tmp_path, titles):
    process = start("--input", titles, "--output", tmp_path / "model", "--epochs", "100000", "--dim", "8", "--quiet")
    deadline, lock = time.monotonic() + 200, tmp_path / "model/_lock"
    # until it trains: a signal that meets TensorFlow's own start is answered in that, with lines of its own
    while not (lock.exists() and b"training" in lock.read_bytes()):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (143, b"molino: stopped; the output is as its last complete run left it\n")
    assert os.listdir(tmp_path / "model") == ["_staging"]


@pytest.mark.parametrize("place", ["pipe", "folder"])
def test_what_is_no_file_of_titles_is_one_line(tmp_path, capsys, place):

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    assert run("--input", tmp_path / place, "--output", tmp_path / "out", "--quiet") == 1
    assert capsys.readouterr().err.count("\n") == 1


def read(path, *options):
    words = ["--input", str(path), "--output", "x", *options]
    given, _ = model.parser().parse_strictly([*words, "--validation", "0"])
    text = dataclasses.replace(text_format(given, model.COLUMNS, model.OPTIONAL), blank=tuple(model.COLUMNS))
    sources = list_sources(list_files(str(path)).files, text)
    made = list(model.read_file(sources, settle_format(sources, text), given))
    return [[text for batch in made for text in batch[place].to_pylist()] for place in (0, 1)]


@pytest.mark.slow  # TensorFlow takes seconds to load
def test_titles_of_files(tmp_path):
    path = tmp_path / "t.csv"
    text = '\ufefftitle,label_quality,category\r\n"Mesa, ""chica""\r\nblanca",reliable,TABLES\r\nNULL,reliable,NA\r\n'
    path.write_text(f"{text}Silla,reliable,\r\n,reliable,CUPS\r\n", encoding="utf-8", newline="")
    assert read(path) == [['Mesa, "chica"\r\nblanca', "NULL", "Silla"], ["TABLES", "NA", None]]
    path.write_text("name\nMesa\nSilla\n")
    assert read(path, "--title-column", "name") == [["Mesa", "Silla"], [None, None]]
    titles = pa.array(["Mesa", None, "Silla"]).dictionary_encode()
    pq.write_table(pa.table({"t": titles, "c": pa.array(["A", "B", None])}), tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet", "--title-column", "t", "--category-column", "c") == [
        ["Mesa", "Silla"],
        ["A", None],
    ]
