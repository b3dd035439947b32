"""Embedding, against what TF Hub's own loading gives; the path is chosen by what the model does."""

import dataclasses
import hashlib
import json
import logging
import os
import pathlib
import pickle
import shutil
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molino.transforms.errors import DataError, OptionError
from molino.transforms.models import embed, nnlm, saved_model
from molino.transforms.models.embed import embed_many, open_embedder, plan_models
from tests.transforms.small_models import BUCKETS, WORDS

ROOT = pathlib.Path(__file__).resolve().parents[3]
REAL = ROOT.parent / "shared/data/meli/titles.parquet"
LETTERS = "ab Ñé  ¿¡!,.-'\t\n\xa0\0\u0301\u2009手📱🏽\U0010ffffx"
TOKENS = st.sampled_from(WORDS) | st.text(st.sampled_from(LETTERS) | st.characters(codec="utf-8"), max_size=20)
TITLES = st.lists(st.lists(TOKENS, max_size=30).map(" ".join), max_size=8)


def plan_model(name, location, *, sha256=None, **options):
    [model] = plan_models({name: location}, sha256=sha256 and {name: sha256}, **options)
    return model


def hard():
    """Titles that a fast path may get wrong."""
    return saved_model.hard_titles([word.encode() for word in WORDS]).cast(pa.string())


def same_bits(one, other):
    return np.array_equal(one.view(np.uint32), other.view(np.uint32))


# --- tables


def test_small_models_are_tables(planned, small):
    for name, model in planned.items():
        assert (model.kind, model.reason, model.exact) == ("table", "", True)
        assert (model.strip_punctuation, model.keep_empty) == (small[name].normalization, small[name].keep_empty)
        assert (model.vocabulary, model.buckets, model.dim) == (len(WORDS), BUCKETS, small[name].vectors.shape[1])
        assert pickle.loads(pickle.dumps(model)) == model
        assert len(pickle.dumps(model)) < 1000


def test_hard_titles_bit_for_bit(planned, small, hub):
    titles = hard()
    for name, model in planned.items():
        expected = hub.load(small[name].folder)(titles.to_pylist()).numpy()
        found = open_embedder(model).embed(titles)
        assert found.flags.c_contiguous
        assert same_bits(found, expected), name


@pytest.mark.slow
def test_any_title_bit_for_bit(planned, small, hub):
    models = {name: hub.load(one.folder) for name, one in small.items()}

    @settings(deadline=None, max_examples=60)
    @given(titles=TITLES)
    def check(titles):
        for name, model in models.items():
            found = open_embedder(planned[name]).embed(pa.array(titles, pa.string()))
            assert same_bits(found, model(np.array(titles, object)).numpy()), name

    check()


@settings(deadline=None, max_examples=40)
@given(titles=TITLES, start=st.integers(0, 4), size=st.integers(1, 3))
def test_any_batching_gives_the_same(planned, titles, start, size):
    embedder = open_embedder(planned["dim5-normalization"])
    array = pa.array(titles, pa.string())
    whole = embedder.embed(array)
    parts = [embedder.embed(array.slice(i, size)) for i in range(start, len(titles), size)]
    assert same_bits(np.concatenate([np.empty((0, 5), np.float32), *parts]), whole[start:])
    assert same_bits(embedder.embed(array.cast(pa.large_string())), whole)


def test_many_titles_are_done_in_parts(planned, monkeypatch):
    embedder = open_embedder(planned["dim5-empty"])
    whole = embedder.embed(hard())
    monkeypatch.setattr(nnlm, "TITLES_AT_ONCE", 3)
    assert same_bits(embedder.embed(hard()), whole)
    assert same_bits(embed_many([embedder], hard())[0], whole)


def test_embed_many(planned, monkeypatch):
    embedders = [open_embedder(model) for model in planned.values()]
    alone = [embedder.embed(hard()) for embedder in embedders]
    calls = []
    find = nnlm.TokenTable.find
    monkeypatch.setattr(nnlm.TokenTable, "find", lambda table, *tokens: calls.append(table) or find(table, *tokens))
    together = embed_many(embedders, hard())
    assert all(same_bits(one, other) for one, other in zip(alone, together, strict=True))
    assert len(calls) == 4  # five models, of which two split alike and have one vocabulary


def test_token_ids(planned, small):
    embedder = open_embedder(planned["dim5-normalization"])
    rows, offsets = embedder.token_ids(pa.array(["hola, mundo", "", "¿que?", "otro"]))
    assert (rows[:2].tolist(), offsets.tolist()) == ([0, 1], [0, 2, 3, 4, 5])
    assert rows[3] == WORDS.index("que")
    unknown = nnlm.fingerprint64(pa.array(["", "otro"])) % np.uint64(BUCKETS) + np.uint64(len(WORDS))
    assert rows[[2, 4]].tolist() == unknown.tolist()
    assert (rows.dtype, offsets.dtype) == (np.int32, np.int64)


def test_coverage(planned):
    coverage = open_embedder(planned["dim5-normalization"]).coverage(pa.array(["hola otro", "", "otro, mundo!", "más"]))
    assert (coverage.tokens, coverage.unknown) == (6, 4)
    assert coverage.words == {"": 1, "más": 1, "otro": 2}
    assert open_embedder(planned["dim5"]).coverage(pa.array([], pa.string())).tokens == 0


def test_one_embedder_a_process(planned):
    assert open_embedder(planned["dim5"]) is open_embedder(pickle.loads(pickle.dumps(planned["dim5"])))


def test_a_worker_needs_no_tensorflow(planned, tmp_path):
    (tmp_path / "model").write_bytes(pickle.dumps(planned["dim5"]))
    program = """
import pickle, sys
import pyarrow as pa
from molino.transforms.models.embed import open_embedder
with open(sys.argv[1], "rb") as file:
    print(open_embedder(pickle.load(file)).embed(pa.array(["hola"])).shape, "tensorflow" in sys.modules)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "model")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "(1, 5) False\n"


@pytest.mark.slow
def test_another_process_finds_out_the_same(small, planned, asked_there, tmp_path, monkeypatch):
    monkeypatch.setenv("MOLINO_CACHE", str(tmp_path))
    model = plan_model("dim5", small["dim5"].folder)
    assert model == dataclasses.replace(planned["dim5"], path=model.path)
    assert model.path.startswith(str(tmp_path))


def test_the_second_plan_asks_nobody(small, planned, monkeypatch):
    monkeypatch.setattr(embed, "ask_tensorflow", lambda _, requests, **__: pytest.fail("asked") if requests else [])
    assert plan_model("dim5", small["dim5"].folder) == planned["dim5"]


def test_a_damaged_cache_is_mended(small, planned, asked_here, tmp_path, monkeypatch):
    monkeypatch.setenv("MOLINO_CACHE", str(tmp_path))
    first = plan_model("dim5", small["dim5"].folder)
    table = pathlib.Path(first.path, "table.npy")
    good = table.read_bytes()
    table.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    (tmp_path / "models" / f"{first.digest[:32]}-01234567").mkdir()  # what other code had found out
    again = plan_model("dim5", small["dim5"].folder)
    assert again == first
    assert table.read_bytes() == good
    assert os.listdir(tmp_path / "models") == [os.path.basename(first.path)]


# --- models that are no tables, or tables of another kind


@pytest.fixture(scope="session")
def odd(save, tmp_path_factory):
    """Models that look like tables: some are none, some differ from one in a detail; folders by name."""
    import tensorflow as tf

    file = tmp_path_factory.mktemp("odd") / "tokens.txt"
    vectors = np.random.default_rng(0).standard_normal((len(WORDS) + BUCKETS, 3), dtype=np.float32)

    def look_up(titles, ids):
        split, _ = tf.sparse.fill_empty_rows(tf.compat.v1.string_split(titles, " "), "")
        return tf.SparseTensor(split.indices, ids.lookup(split.values), split.dense_shape)

    def save_table(combiner="sqrtn", change=lambda titles: titles, factor=1.0, end="\n"):
        file.write_bytes(b"".join(f"{word}{end}".encode() for word in WORDS))
        initializer = tf.lookup.TextFileInitializer(
            tf.saved_model.Asset(str(file)),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        rows, ids = tf.Variable(vectors), tf.lookup.StaticVocabularyTable(initializer, BUCKETS)

        def embed(titles):
            found = look_up(change(titles), ids)
            return tf.nn.embedding_lookup_sparse(rows, found, None, combiner=combiner) * np.float32(factor)

        return save(embed, rows=rows, ids=ids)

    return {
        "mean": save_table(combiner="mean"),
        "lower": save_table(change=tf.strings.lower),
        "tabs": save_table(change=lambda titles: tf.strings.regex_replace(titles, r"\s", " ")),
        "no table": save(lambda titles: tf.ones([tf.size(titles), 3])),
        "rounded": save_table(factor=1 + 2**-23),
        "crlf": save_table(end="\r\n"),
    }


@pytest.fixture(scope="session")
def odd_planned(odd, cache, asked_here):
    """The same models as planned, by name."""
    return {model.name: model for model in plan_models(odd)}


def test_others_are_embedded_by_the_model_itself(odd, odd_planned, hub):
    titles = hard()
    for name in ("mean", "lower", "tabs", "no table"):
        folder, model = odd[name], odd_planned[name]
        assert model.kind == "generic"
        assert same_bits(open_embedder(model).embed(titles), hub.load(folder)(titles.to_pylist()).numpy())
    assert odd_planned["no table"].reason == "it has 0 assets, not the one file of a vocabulary"
    assert odd_planned["lower"].reason.startswith("it gives other vectors than its table, for example for '")


def test_the_generic_path_in_parts(odd_planned, monkeypatch):
    embedder = open_embedder(odd_planned["mean"])
    whole = embedder.embed(hard())
    monkeypatch.setattr(embed, "GENERIC_BATCH", 7)
    assert same_bits(embedder.embed(hard()), whole)
    assert embedder.embed(pa.array([], pa.string())).shape == (0, 3)
    together = embed_many([embedder], hard())
    assert same_bits(together[0], whole)
    with pytest.raises(TypeError, match="embedded by TensorFlow"):
        embedder.coverage(hard())


def test_a_table_that_rounds_otherwise(odd, odd_planned, hub, cache, caplog):
    model = odd_planned["rounded"]
    assert (model.kind, model.exact) == ("table", False)
    titles = hard()
    expected = hub.load(odd["rounded"])(titles.to_pylist()).numpy()
    found = open_embedder(model).embed(titles)
    assert not same_bits(found, expected)
    assert (np.linalg.norm(found - expected, axis=1) <= 1e-6 * np.linalg.norm(expected, axis=1)).all()
    with caplog.at_level(logging.WARNING):
        exact = plan_model("m", odd["rounded"], exact=True)
    assert (exact.kind, exact.exact) == ("generic", True)
    assert "m: embedded by TensorFlow, which is slower: its table gives" in caplog.text
    assert same_bits(open_embedder(exact).embed(titles), expected)


def test_lines_that_end_in_crlf(odd, odd_planned, hub):
    assert (odd_planned["crlf"].kind, odd_planned["crlf"].exact) == ("table", True)
    assert same_bits(
        open_embedder(odd_planned["crlf"]).embed(hard()), hub.load(odd["crlf"])(hard().to_pylist()).numpy()
    )


def test_exact_tables_stay_tables(small, planned):
    assert plan_model("dim5", small["dim5"].folder, exact=True) == planned["dim5"]


def test_a_model_that_changes_after_the_plan(odd, cache, asked_here, tmp_path):
    folder = shutil.copytree(odd["no table"], tmp_path / "model")
    model = plan_model("m", str(folder))
    (folder / "more").write_text("x")
    with pytest.raises(DataError, match="has changed since the run began"):
        open_embedder(model)


# --- where a model is


def test_folder_archive_and_url_are_one_model(small, planned, cache, asked_here, tmp_path, monkeypatch):
    folder, digest = pathlib.Path(small["dim5"].folder), planned["dim5"].digest
    with tarfile.open(tmp_path / "m.tar.gz", "w:gz") as tar:
        tar.add(folder, ".")
    with tarfile.open(tmp_path / "below.tgz", "w:gz") as tar:
        tar.add(folder, "nnlm/1")
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        for path in folder.rglob("*"):
            archive.write(path, path.relative_to(folder))
    url = "https://tfhub.dev/google/nnlm-test/2"
    hub_cache = tmp_path / "hub"
    shutil.copytree(folder, hub_cache / hashlib.sha1(url.encode()).hexdigest())
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(hub_cache))
    places = {"tar": str(tmp_path / "m.tar.gz"), "below": str(tmp_path / "below.tgz"), "zip": str(tmp_path / "m.zip")}
    models = plan_models({**places, "url": url}, sha256={"tar": digest, "url": digest.upper()})
    assert {model.digest for model in models} == {digest}
    assert {model.path for model in models} == {planned["dim5"].path}


def test_the_digest_is_that_of_a_shell(small, planned):
    command = "find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    done = subprocess.run(command, shell=True, cwd=small["dim5"].folder, capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == planned["dim5"].digest


def test_pins(small, planned):
    folder, digest = small["dim5"].folder, planned["dim5"].digest
    other = "0" * 64
    with pytest.raises(DataError, match=f"the model dim5 has the sha256 {digest}, not {other}"):
        plan_model("dim5", folder, sha256=other)
    with pytest.raises(OptionError, match="64 hexadecimal digits, not 'abc'"):
        plan_model("dim5", folder, sha256="abc")
    with pytest.raises(OptionError, match="names no model: x; there are dim5"):
        plan_models({"dim5": folder}, sha256={"x": digest})


def test_models_that_are_not_there(tmp_path):
    with pytest.raises(DataError, match=r"there is no model .*nowhere; give the folder"):
        plan_model("m", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"is no SavedModel: it has no saved_model\.pb"):
        plan_model("m", str(tmp_path))
    (tmp_path / "m.bin").write_bytes(b"x")
    with pytest.raises(DataError, match=r"m.bin is no model: neither a folder nor an archive"):
        plan_model("m", str(tmp_path / "m.bin"))


def test_trust_is_asked_for_each_time(save, cache, asked_here, tmp_path):
    import tensorflow as tf

    def embed(titles):
        tf.io.write_file(str(tmp_path / "written"), "x")
        return tf.ones([tf.size(titles), 2])

    folder = save(embed)
    said = r"may touch files or the network \(WriteFile\); .* give --trust-model"
    with pytest.raises(DataError, match=said):
        plan_model("m", folder)
    assert not (tmp_path / "written").exists()
    assert plan_model("m", folder, trust=True).suspects == ("WriteFile",)
    with pytest.raises(DataError, match=said):
        plan_model("m", folder)


def test_tensorflow_that_dies_is_told(small, asked_there, tmp_path, monkeypatch):
    monkeypatch.setenv("MOLINO_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(DataError, match="TensorFlow ended with the code 1 while it looked at the models"):
        plan_model("dim5", small["dim5"].folder)
    assert os.listdir(tmp_path / "models") == []


def test_facts_are_json(planned):
    facts = json.loads(pathlib.Path(planned["dim5"].path, "facts.json").read_text())
    assert facts["kind"] == "table"
    assert set(facts["files"]) == {"table.json", *(f"{name}.npy" for name in nnlm.FILES)}


# --- the real size


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not REAL.exists(), reason="the real titles are not here")
@pytest.mark.parametrize(("normalization", "keep_empty", "dim"), [(True, False, 128), (False, True, 50)])
def test_all_real_titles_at_the_real_size(tmp_path, monkeypatch, hub, asked_there, normalization, keep_empty, dim):
    from molino.training.nnlm_export import export_nnlm

    monkeypatch.setenv("MOLINO_CACHE", str(tmp_path / "cache"))
    titles = pa.concat_arrays(pq.read_table(REAL, columns=["title"])["title"].chunks)
    random = np.random.default_rng(0)
    known = {word for title in titles.to_pylist()[::9] for word in title.split(" ") if word.strip() == word and word}
    made = {f"palabra{i}" for i in range(976_640 - 25_000 - len(known))}
    words = random.permutation(np.array(sorted(known | made), object)).tolist()
    vectors = random.standard_normal((976_640, dim), dtype=np.float32)
    folder = str(tmp_path / "model")
    export_nnlm(folder, words, vectors, buckets=25_000, normalization=normalization, keep_empty=keep_empty)
    del vectors
    planned = plan_model("real", folder, exact=True)
    assert (planned.kind, planned.vocabulary) == ("table", 951_640)
    assert (planned.strip_punctuation, planned.keep_empty) == (normalization, keep_empty)
    embedder, model = open_embedder(planned), hub.load(folder)
    for start in range(0, len(titles), 16_384):
        part = titles.slice(start, 16_384)
        expected = model(part.to_numpy(zero_copy_only=False)).numpy()
        assert same_bits(embedder.embed(part), expected), start
