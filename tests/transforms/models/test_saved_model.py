"""Loading SavedModels: both formats of TensorFlow, what is wrong with others, and the silence."""

import hashlib
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from molino.transforms.errors import DataError
from molino.transforms.models import saved_model
from tests.transforms.small_models import WORDS

ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def tf(hub):
    import tensorflow

    return tensorflow


def read_lines(tf, file):
    whole, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
    return tf.lookup.TextFileInitializer(str(file), tf.string, whole, tf.int64, number)


@pytest.fixture
def old_format(tf, tmp_path):
    """A table as TensorFlow 1 saved it: signatures, no callable."""
    vocabulary = tmp_path / "tokens.txt"
    vocabulary.write_text("hola\nmundo\n")
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        titles = v1.placeholder(tf.string, [None])
        initializer = tf.lookup.TextFileInitializer(
            str(vocabulary),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        ids = tf.lookup.StaticVocabularyTable(initializer, 3)
        rows = v1.get_variable("embeddings", initializer=np.arange(10, dtype=np.float32).reshape(5, 2))
        split, _ = tf.sparse.fill_empty_rows(v1.string_split(titles, " "), "")
        found = tf.SparseTensor(split.indices, ids.lookup(split.values), split.dense_shape)
        vectors = tf.nn.embedding_lookup_sparse(rows, found, None, combiner="sqrtn")
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder = v1.saved_model.Builder(str(tmp_path / "old"))
        signature = v1.saved_model.predict_signature_def({"text": titles}, {"default": vectors})
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"default": signature},
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            main_op=v1.tables_initializer(),
        )
        builder.save()
    return str(tmp_path / "old")


def examine(folder, target, trust=False):
    target.mkdir()
    return saved_model.examine(folder, "the-model", trust=trust, target=str(target))


@pytest.mark.filterwarnings("ignore")  # TensorFlow tells that its first format is old
def test_tensorflow_1(old_format, tmp_path):
    facts = examine(old_format, tmp_path / "target")
    assert (facts["kind"], facts["exact"], facts["vocabulary"], facts["buckets"]) == ("table", True, 2, 3)
    found = saved_model.load(old_format, "the-model")(np.array(["mundo"], object))
    assert found.tolist() == [[2, 3]]


def test_files_that_are_no_model(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff junk")
    with pytest.raises(DataError, match=r"the-model is no SavedModel: its saved_model\.pb cannot be read"):
        examine(str(tmp_path), tmp_path / "target")
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot load the model the-model: .*; fetch it again"):
        examine(str(tmp_path), tmp_path / "other")


@pytest.mark.parametrize("gone", ["variables/variables.index", "variables/variables.data-00000-of-00001", "assets"])
def test_a_file_that_is_missing(small, tmp_path, gone):
    folder = shutil.copytree(small["dim5"].folder, tmp_path / "model")
    if (folder / gone).is_dir():
        shutil.rmtree(folder / gone)
    else:
        (folder / gone).unlink()
    with pytest.raises(DataError, match=r"the-model.*fetch it again"):
        examine(str(folder), tmp_path / "target")


def test_functions_that_are_no_embedding(save, tf, tmp_path):
    for number, (said, function, options) in enumerate(
        [
            (r"gives float64 of the shape \(3, 2\)", lambda x: tf.ones([tf.size(x), 2], tf.float64), {}),
            (r"gives float32 of the shape \(3,\)", lambda x: tf.ones([tf.size(x)]), {}),
            (r"gives float32 of the shape \(1, 2\)", lambda x: tf.ones([1, 2]), {}),
            ("does not take a 1-D tensor of strings", lambda x: tf.cast(x, tf.float32)[:, None], _spec(tf, tf.int64)),
            ("does not take a 1-D tensor of strings", lambda x: x[0], _spec(tf, tf.string, [None, None])),
        ]
    ):
        with pytest.raises(DataError, match=said):
            examine(save(function, **options), tmp_path / str(number))


def _spec(tf, dtype, shape=(None,)):
    return {"spec": tf.TensorSpec(shape, dtype)}


def test_a_model_without_a_function(tf, tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "model"))
    with pytest.raises(DataError, match="it has none of the signatures default, serving_default"):
        examine(str(tmp_path / "model"), tmp_path / "target")


def test_what_is_no_table_says_why(save, tf, tmp_path):
    one = tf.Variable(np.ones((2, 3), np.float32))
    asset = tmp_path / "words.txt"
    asset.write_text("a\nb\n")
    words = tf.saved_model.Asset(str(asset))
    for number, (reason, attributes) in enumerate(
        [
            ("it has 0 assets, not the one file of a vocabulary", {"one": one}),
            ("it has 0 variables of two dimensions in float32, not the one of a table", {"file": words}),
            (
                "it has 2 variables of two dimensions in float32, not the one of a table",
                {"file": words, "one": one, "two": tf.Variable(np.ones((1, 1), np.float32))},
            ),
            ("its table has 2 rows for 2 lines of words.txt, and none for other tokens", {"file": words, "one": one}),
        ]
    ):
        folder = save(lambda titles: tf.ones([tf.size(titles), 2]), **attributes)
        facts = examine(folder, tmp_path / str(number))
        assert (facts["kind"], facts["reason"], facts["dim"]) == ("generic", reason, 2)


def test_vocabulary_as_tensorflow_reads_it(tf, tmp_path):
    for number, text in enumerate(
        [b"a\nb\n", b"a\nb", b"a\r\nb\r\n", b"a\rb\nc\r\r\n", b"\xef\xbb\xbfa\nb\0c\n", b" a \n\xff\n"]
    ):
        file = tmp_path / f"{number}.txt"
        file.write_bytes(text)
        table = tf.lookup.StaticHashTable(read_lines(tf, file), -1)
        words, lines = (tensor.numpy().tolist() for tensor in table.export())
        expected = [word for _, word in sorted(zip(lines, words, strict=True))]
        assert saved_model.read_vocabulary(str(file)).to_pylist() == expected


def test_resolve(small, tmp_path, monkeypatch):
    url = "https://tfhub.dev/google/nnlm-test/2"
    shutil.copytree(small["dim5"].folder, tmp_path / hashlib.sha1(url.encode()).hexdigest())
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    assert pathlib.Path(saved_model.resolve(url)).parent == tmp_path
    with pytest.raises(DataError, match=r"cannot get the model nowhere://x/y: .*give its folder"):
        saved_model.resolve("nowhere://x/y")


def test_probes_have_every_word_and_character():
    words = [word.encode() for word in WORDS] * 50
    titles = [title for part in saved_model.probe_titles(words) for title in part.to_pylist()]
    assert sum(title.count(b"doceletrasss") for title in titles) == 50
    assert set("".join(title.decode() for title in titles)) >= set(map(chr, range(0xD800)))
    assert len(max(saved_model.hard_titles(words).to_pylist(), key=len)) > 1_000_000


@pytest.mark.slow
def test_tensorflow_prints_nothing(small):
    program = f"""
import numpy as np
from molino.transforms.models import saved_model
print(saved_model.load({small["dim5"].folder!r}, "m")(np.array(["hola"], object)).shape)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("(1, 5)\n", "")


class Several:
    """Signatures of one string each, by name: a dict of functions of titles."""

    def __init__(self, tf, **signatures):
        self.tf, self.signatures = tf, signatures

    def save(self, folder):
        tf, module = self.tf, self.tf.Module()
        spec = tf.TensorSpec([None], tf.string, name="text")
        made = {}
        for name, outputs in self.signatures.items():
            function = tf.function(lambda text, outputs=outputs: {key: of(text) for key, of in outputs.items()})
            made[name] = function.get_concrete_function(spec)
        tf.saved_model.save(module, str(folder), signatures=made)
        return str(folder)


def constant(tf, value, size=2):
    return lambda text: tf.fill([tf.size(text), size], np.float32(value))


@pytest.mark.parametrize("size", [2, 3])
def test_several_outputs_are_refused_until_one_is_chosen(tf, tmp_path, size):
    both = {"query": constant(tf, 1), "passage": constant(tf, 2, size)}
    folder = Several(tf, serving_default=both).save(tmp_path / "two")
    with pytest.raises(DataError) as told:
        saved_model.load(folder, "two")
    assert str(told.value) == (
        f"the model two gives 2 kinds of vectors: serving_default/passage ({size} numbers), serving_default/query (2 "
        "numbers); choose one, for example two#serving_default/passage"
    )
    for output in ("query", "serving_default/query"):
        assert saved_model.load(folder, "two", output)(np.array(["a"], object)).tolist() == [[1, 1]]
    with pytest.raises(DataError, match=r"has no output 'querry' of vectors; it has: serving_default/passage \("):
        saved_model.load(folder, "two", "querry")
    with pytest.raises(DataError, match="gives 2 kinds of vectors"):
        saved_model.load(folder, "two", "serving_default")


def test_several_signatures_are_refused_until_one_is_chosen(tf, tmp_path):
    folder = Several(tf, one={"v": constant(tf, 1)}, other={"v": constant(tf, 2)}).save(tmp_path / "two")
    with pytest.raises(
        DataError,
        match=r"2 kinds of vectors: one/v \(2 numbers\), other/v \(2 numbers\); choose one, for example two#one/v",
    ):
        saved_model.load(folder, "two")
    with pytest.raises(DataError, match="2 kinds of vectors"):
        saved_model.load(folder, "two", "v")
    assert saved_model.load(folder, "two", "other")(np.array(["a"], object)).tolist() == [[2, 2]]


def test_the_only_vectors_need_no_choice(tf, tmp_path):
    label = {
        "vectors": constant(tf, 1),
        "length": lambda text: tf.strings.length(text),
        "score": lambda text: tf.ones([3]),
    }
    folder = Several(tf, serving_default=label, serve={"again": constant(tf, 1)}).save(tmp_path / "one")
    assert saved_model.load(folder, "one")(np.array(["a"], object)).tolist() == [[1, 1]]


def test_a_classifier_is_named_as_one(tf, tmp_path):
    folder = Several(tf, with_language={"probabilities": constant(tf, 1)}).save(tmp_path / "classifier")
    with pytest.raises(DataError, match="is a classifier of titles, not a model of vectors; give it to molino predict"):
        saved_model.load(folder, "out/serving")
