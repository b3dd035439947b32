"""SavedModels: resolved, looked through before anything of them runs, loaded and called. All of TensorFlow is here."""

import dataclasses
import functools
import itertools
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.quiet import silent_tensorflow
from molino.transforms.errors import DataError
from molino.transforms.models import nnlm
from molino.transforms.models.graph_ops import assets_of, find_suspects, untrusted

Call = Callable[[np.ndarray], np.ndarray]
Classify = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray | None]]
PROBES = ("hola mundo", "", "a  b")
# what a worker needs of a model is one of these signatures, where the model itself cannot be called
SIGNATURES = ("default", "serving_default")
CLASSIFY = "with_language"  # of a classifier: of titles with their languages
TOLERANCE = 1e-6  # how far a table's vector may be from the model's, of the vector's norm
PROBED_AT_ONCE = 16384
_importing = threading.Lock()


def import_tensorflow() -> tuple[Any, Any]:
    """Import TensorFlow and TF Hub without their chatter; return both. Nothing is computed: a fork may follow.

    Raises DataError: they are not there.
    """
    with silent_tensorflow(), warnings.catch_warnings():
        # TF Hub 0.16.1 needs pkg_resources, which warns of its end when it is imported
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
        try:
            import tensorflow as tf
            import tensorflow_hub as hub
        except ImportError as error:
            raise DataError(f"models need TensorFlow ({error}); pip install -r requirements/tensorflow.txt") from None
    return tf, hub


@functools.cache
def _tensorflow() -> tuple[Any, Any]:
    """Return TensorFlow and TF Hub, ready to compute."""
    with _importing, silent_tensorflow():
        tf, hub = import_tensorflow()
        tf.constant(0)
    return tf, hub


def resolve(url: str) -> str:
    """Return the folder of a TF Hub URL, downloaded unless TFHUB_CACHE_DIR has it; raise DataError where that fails."""
    _, hub = _tensorflow()
    try:
        return hub.resolve(url)
    except Exception as error:
        raise DataError(
            f"cannot get the model {url}: {_cause(error)[:200]}; check the URL and the network, or unpack the model by "
            "hand and give its folder"
        ) from None


def load(folder: str, label: str, output: str = "") -> Call:
    """Load a model and return what calls it: `(n,)` strings in, `(n, dim) float32` out; n from 1.

    The vectors are those of the model's own call, as reusable models have it, or else of its one signature that gives
    some. Safe for threads. `output`: which of several, as OUTPUT or SIGNATURE/OUTPUT; "" for the only one. Raises
    DataError where it cannot be loaded, is no function from strings to vectors, or gives several and `output` is none.
    """
    tf, hub = _tensorflow()
    try:
        model = hub.load(folder)
    except Exception as error:
        raise DataError(f"cannot load the model {label}: {_cause(error)}; fetch it again") from None
    function, key = _choose(model, label, output)

    def call(titles: np.ndarray) -> np.ndarray:
        return function(tf.constant(titles, tf.string))[key].numpy()

    call.keep = model  # type: ignore[attr-defined]  # its tables live as long as it
    return call


def _choose(model: Any, label: str, output: str) -> tuple[Callable[[Any], dict[str, Any]], str]:
    """Return what gives a model's vectors, and under which name: one of two names that give the same values."""
    tf, _ = _tensorflow()
    functions = _functions(model)
    if not functions:
        raise DataError(f"the model {label} cannot be called: it has none of the signatures {', '.join(SIGNATURES)}")
    if not output and CLASSIFY in functions:
        raise DataError(f"{label} is a classifier of titles, not a model of vectors; give it to molino predict --model")
    vectors: dict[str, np.ndarray] = {}
    places: dict[str, tuple[Callable, str]] = {}
    faults: list[str] = []
    for name, function in functions.items():
        try:
            found = {key: np.asarray(value.numpy()) for key, value in function(tf.constant(PROBES)).items()}
        except Exception as error:
            faults.append(f"does not take a 1-D tensor of strings: {_cause(error)}")
            continue
        for key in sorted(found):
            if _are_vectors(found[key]):
                place = f"{name}/{key}".strip("/")
                vectors[place], places[place] = found[key], (function, key)
            else:
                faults.append(
                    f"gives {found[key].dtype} of the shape {found[key].shape} for {len(PROBES)} titles, not float32 "
                    f"of the shape ({len(PROBES)}, dim)"
                )
        if not name and vectors and not output:
            break  # it can be called: that is what it is for
    distinct: dict[bytes, str] = {}
    for name in vectors:
        if not output or output in (name, name.partition("/")[2], name.partition("/")[0]):
            distinct.setdefault(vectors[name].tobytes(), name)
    chosen = list(distinct.values())
    shown = ", ".join(f"{name or 'its call'} ({vectors[name].shape[1]} numbers)" for name in sorted(vectors))
    if output and not chosen:
        raise DataError(f"the model {label} has no output {output!r} of vectors; it has: {shown or 'none'}")
    if not chosen:
        raise DataError(f"the model {label} {faults[0]}")
    if len(chosen) > 1:
        raise DataError(
            f"the model {label} gives {len(chosen)} kinds of vectors: {shown}; choose one, for example "
            f"{label.partition('#')[0]}#{sorted(chosen)[0]}"
        )
    return places[chosen[0]]


def _functions(model: Any) -> dict[str, Callable[[Any], dict[str, Any]]]:
    """Return what takes one string tensor: "" for the model's own call, then signatures, those of SIGNATURES first."""
    tf, _ = _tensorflow()

    def named(output: Any) -> dict[str, Any]:
        return output if isinstance(output, dict) else {"": output}

    functions: dict[str, Callable] = {"": lambda titles: named(model(titles))} if callable(model) else {}
    signatures = getattr(model, "signatures", {})
    for name in dict.fromkeys([*(each for each in SIGNATURES if each in signatures), *sorted(signatures)]):
        inputs = signatures[name].structured_input_signature[1]
        if name == CLASSIFY or [spec.dtype for spec in inputs.values()] == [tf.string]:
            given = next(iter(inputs))
            functions[name] = lambda titles, function=signatures[name], given=given: function(**{given: titles})
    return functions


def _are_vectors(values: Any) -> bool:
    return values.ndim == 2 and values.dtype == np.float32 and len(values) == len(PROBES) and values.shape[1] > 0


def _cause(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def load_classifier(folder: str, label: str) -> Classify:
    """Load a classifier and return what calls it: `(n,)` titles and languages in, the likeliest categories out.

    Those are `(n, k)` names, as bytes, the highest score first; `(n, k) float32` scores; and as many probabilities, or
    None where the classifier knows none. What those of earlier versions call probabilities are scores. Raises DataError
    where it cannot be loaded, or is no classifier of titles.
    """
    tf, _ = _tensorflow()
    try:
        model = tf.saved_model.load(folder)
    except Exception as error:
        raise DataError(f"cannot load the classifier {label}: {_cause(error)}; train it again") from None
    signatures = getattr(model, "signatures", {})
    if CLASSIFY not in signatures:
        raise DataError(f"{label} is no classifier of titles: it has no signature {CLASSIFY}; see molino train titles")
    function = signatures[CLASSIFY]

    def call(titles: np.ndarray, languages: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        found = function(title=tf.constant(titles, tf.string), language=tf.constant(languages, tf.string))
        given = {name: found[name].numpy() for name in ("categories", "scores", "probabilities") if name in found}
        chances = given.get("probabilities")
        return given["categories"], *((given["scores"], chances) if "scores" in given else (chances, None))

    call.keep = model  # type: ignore[attr-defined]  # its tables live as long as it
    try:
        names, scores, _ = call(np.array(PROBES, object), np.array([""] * len(PROBES), object))
    except Exception as error:
        raise DataError(f"the classifier {label} does not take titles and languages: {_cause(error)}") from None
    if scores is None or names.shape != scores.shape or not _are_vectors(scores):
        raise DataError(f"the classifier {label} does not give categories and scores; train it again")
    return call


def examine_classifier(folder: str, label: str, *, trust: bool) -> None:
    """Look through a classifier and load it; DataError: it may do more than compute and has no `trust`."""
    _look_through(folder, label, trust=trust)
    load_classifier(folder, label)


def examine(folder: str, label: str, *, trust: bool, target: str, output: str = "") -> dict[str, Any]:
    """Look through a model, load it, and return what `molino.transforms.models.embed` has to know of it.

    If it is an NNLM table, its table is in the folder `target` then, and gives the model's vectors. Raises DataError
    where it cannot be loaded, is no function from strings to vectors, or may do more than compute and has no `trust`.
    """
    saved, suspects = _look_through(folder, label, trust=trust)
    facts: dict[str, Any] = {"suspects": suspects, "exact": True}
    try:
        reason = _write_table(saved, folder, target)
    except Exception as error:  # if the model cannot be loaded either, that is said next
        reason = f"its table cannot be read: {_cause(error)}"
    call = load(folder, label, output)
    facts["dim"] = call(np.array(PROBES, object)).shape[1]
    if not reason:
        reason, found = _compare(call, nnlm.TokenTable(target))
        facts |= found
    return {**facts, "kind": "generic" if reason else "table", "reason": reason}


def _look_through(folder: str, label: str, *, trust: bool) -> tuple[Any, list[str]]:
    _tensorflow()
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        with open(os.path.join(folder, "saved_model.pb"), "rb") as file:
            saved = saved_model_pb2.SavedModel.FromString(file.read())
    except (DecodeError, OSError) as error:
        raise DataError(f"{label} is no SavedModel: its saved_model.pb cannot be read ({_cause(error)})") from None
    suspects = find_suspects(saved)
    if suspects and not trust:
        raise DataError(untrusted(label, suspects))
    return saved, suspects


def _write_table(saved: Any, folder: str, target: str) -> str:
    """Write the model's table to the folder `target`; return why not, or "" when it is there."""
    tf, _ = _tensorflow()
    files = [asset.filename for meta in saved.meta_graphs for asset in assets_of(meta)]
    if len(files) != 1:
        return f"it has {len(files)} assets, not the one file of a vocabulary"
    reader = tf.train.load_checkpoint(os.path.join(folder, "variables", "variables"))
    types, shapes = reader.get_variable_to_dtype_map(), reader.get_variable_to_shape_map()
    tables = [name for name, shape in shapes.items() if len(shape) == 2 and types[name] == tf.float32]
    if len(tables) != 1:
        return f"it has {len(tables)} variables of two dimensions in float32, not the one of a table"
    # before the vectors: what TensorFlow allocates after them keeps it from using their memory again
    words, punctuation = read_vocabulary(os.path.join(folder, "assets", files[0])), find_punctuation()
    vectors = reader.get_tensor(tables[0])
    buckets = len(vectors) - len(words)
    if buckets < 1 or not len(words):
        return f"its table has {len(vectors):,} rows for {len(words):,} lines of {files[0]}, and none for other tokens"
    nnlm.write_table(target, words, vectors, buckets=buckets, punctuation=punctuation)
    return ""


def read_vocabulary(path: str) -> pa.Array:
    r"""Return the lines of a vocabulary's file as TensorFlow reads them: binary, without \n or \r\n."""
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")
    if not lines[-1]:
        lines.pop()
    return pa.array([line.removesuffix(b"\r") for line in lines], pa.large_binary())


@functools.cache
def find_punctuation() -> np.ndarray:
    r"""Return `(CODE_POINTS,) uint8` with a 1 for what TensorFlow's own regular expressions find to be \pP."""
    tf, _ = _tensorflow()
    left = tf.strings.regex_replace("".join(_characters()), r"\pP", "").numpy().decode()
    found = np.zeros(nnlm.CODE_POINTS, np.uint8)
    found[[ord(character) for character in set(_characters()).difference(left)]] = 1
    return found


@functools.cache
def _characters() -> list[str]:
    points = np.arange(nnlm.CODE_POINTS, dtype="<u4")
    return list(points[(points < 0xD800) | (points >= 0xE000)].tobytes().decode("utf-32-le"))


def _compare(call: Call, table: nnlm.TokenTable) -> tuple[str, dict[str, Any]]:
    """Find how a model splits titles; return (why its table is not enough for it or "", what was found).

    The table is used only when it gives the model's vectors for every word of the vocabulary, thousands of other
    tokens, every code point, and the titles that are known to be hard.
    """

    def refuse(title: pa.Scalar) -> tuple[str, dict[str, Any]]:
        shown = title.as_py().decode(errors="replace")[:60]
        return f"it gives other vectors than its table, for example for {shown!r}", {}

    words = table.words()
    hard = hard_titles(words)
    wrong: dict[nnlm.Split, pa.Array] = {}
    for strip, keep in itertools.product((False, True), repeat=2):
        rule = nnlm.Split(strip_punctuation=strip, keep_empty=keep)
        wrong[rule] = hard.filter(pa.array(_errors(call, table, rule, hard) > TOLERANCE))
    rule = min(wrong, key=lambda rule: len(wrong[rule]))
    if len(wrong[rule]):
        return refuse(wrong[rule][0])
    worst = 0.0
    for titles in (hard, *probe_titles(words)):
        error = _errors(call, table, rule, titles)
        if error.max(initial=0) > TOLERANCE:
            return refuse(titles[int(error.argmax())])
        worst = max(worst, error.max(initial=0))
    sizes = {"vocabulary": table.vocabulary, "buckets": table.buckets}
    return "", {**sizes, "exact": bool(worst == 0), "finite": table.is_finite(), **dataclasses.asdict(rule)}


def _errors(call: Call, table: nnlm.TokenTable, rule: nnlm.Split, titles: pa.Array) -> np.ndarray:
    """Return how far the table's vectors are from the model's, of their norm, `(n,) float64`; 0 for the same bits."""
    errors = []
    for start in range(0, len(titles), PROBED_AT_ONCE):
        part = titles.slice(start, PROBED_AT_ONCE)
        wanted, found = call(part.to_numpy(zero_copy_only=False)), table.embed(part, rule)
        if wanted.shape != found.shape:
            return np.full(len(titles), np.inf)
        far = np.linalg.norm(wanted.astype(np.float64) - found, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            far = far / np.linalg.norm(wanted.astype(np.float64), axis=1)
        same = (wanted.view(np.uint32) == found.view(np.uint32)).all(axis=1)
        # not a number: no vector to compare with, or other bits of zero; never below the tolerance
        errors.append(np.where(same, 0, np.where(far > 0, far, np.inf)))
        table.release()
    return np.concatenate(errors)


def hard_titles(words: Sequence[bytes]) -> pa.Array:
    """Return titles that show how a model splits, as binaries: with these words and with none."""
    one, two = (word.decode(errors="ignore") or "x" for word in (words[0], words[-1]))
    titles = [
        *("", " ", "   ", "!", "¿¡ ?", "... , ...", "\t", "\n", "\xa0", "\u3000", "\0", "\ufeff", "a\0b", "\0 \0"),
        *(f"{one}  {two}", f" {one}", f"{one} ", f"  {one}   {two}  ", f"{one} - {two}", f"{one}!{two}"),
        *(f"¿{one}? ¡{two}!", f"{one}\t{two}", f"{one}\n{two}", f"{one}\r\n{two}", f"{one}\xa0{two}"),
        *(f"{one}\u2009{two}", f"{one}\v{two}", one.upper(), one.lower(), one.title(), one.swapcase()),
        *(f"{one},{two}", f"{one}'s", f"({one})", f"$ {one} +{two}="),
        *("x" * size for size in (1, 7, 8, 9, 11, 12, 16, 17, 32, 33, 64, 65, 127, 128, 129, 1000)),
        *("¡" * size + "x" * size for size in (31, 32, 64, 65)),
        *("手机壳 苹果", "電視 32寸。", "👩‍👩‍👧 📱📱", "e\u0301 n\u0303", "Ñandú ÑANDÚ ñandú"),
        *("İstanbul ß ẞ", "ﷺ", "\U0010ffff"),
        *(" ".join([one, two, "x"][i % 3] for i in range(count)) for count in range(1, 42)),
        " ".join(["x" * 30, "¿y", one, ""] * 25_000),
    ]
    return pa.array([title.encode() for title in titles], pa.binary())


def probe_titles(words: Sequence[bytes]) -> Iterator[pa.Array]:
    """Yield titles with every word, with other tokens, and with every code point, as binaries. Always the same ones."""
    random = np.random.default_rng(0)
    valid = pa.array(words, pa.binary())
    try:
        valid.cast(pa.string())
    except pa.ArrowInvalid:  # some are no UTF-8, which titles are
        valid = valid.filter(pa.array([word.decode(errors="ignore").encode() == word for word in words]))
    sizes = np.resize(np.arange(1, 25), len(valid))
    ends = np.unique(np.minimum(np.cumsum([0, *sizes]), len(valid)))
    yield pc.binary_join(pa.ListArray.from_arrays(pa.array(ends, pa.int32()), valid), b" ")
    letters = np.array(list("abcdefghijklmnñopqrstuvwxyzáéíóúABCXYZ0123456789-_.'\"/"))
    made = ["".join(random.choice(letters, size)) for size in np.repeat(np.arange(1, 101), 80)]
    yield pa.array([token.encode() for token in made], pa.binary())
    yield pa.array([" ".join(random.choice(made, size)).encode() for size in range(1, 200)], pa.binary())
    characters = _characters()
    yield pa.array(["".join(characters[i : i + 64]).encode() for i in range(0, len(characters), 64)], pa.binary())
