"""SavedModels: resolved, looked through before anything of them runs, loaded and called. All of TensorFlow is here.

As a program (`python -m transforms.saved_model`) it does for `transforms.embed` what needs TensorFlow, in a process of
its own: the memory is given back, and what TensorFlow prints stays out of the user's sight.
"""

import contextlib
import functools
import io
import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.errors import DataError, OptionError

Call = Callable[[np.ndarray], np.ndarray]
PROBES = ("hola mundo", "", "a  b")
# what a worker needs of a model is one of these signatures, where the model itself cannot be called
SIGNATURES = ("default", "serving_default")
_importing = threading.Lock()


@functools.cache
def _tensorflow() -> tuple[Any, Any]:
    """Import TensorFlow and TF Hub without their chatter; return both."""
    with _importing, _no_stderr(), warnings.catch_warnings():
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        # TF Hub 0.16.1 needs pkg_resources, which warns of its end when it is imported
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
        try:
            import tensorflow as tf
            import tensorflow_hub as hub
        except ImportError as error:
            raise DataError(f"models need TensorFlow ({error}); pip install 'molino[tensorflow]'") from None
        for name in ("tensorflow", "tensorflow_hub", "absl"):
            logging.getLogger(name).setLevel(logging.ERROR)
        tf.constant(0)  # the first operation prints too
    return tf, hub


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """Drop what is written to standard error: TensorFlow writes before its log level can be set."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def resolve(url: str) -> str:
    """Return the folder of a TF Hub URL, downloaded unless TFHUB_CACHE_DIR has it.

    Raises:
      DataError: it cannot be had.
    """
    _, hub = _tensorflow()
    try:
        return hub.resolve(url)
    except Exception as error:
        cause = " ".join(str(error).split())[:200]
        raise DataError(
            f"cannot get the model {url}: {cause}; check the URL and the network, or unpack the model by hand and give "
            "its folder"
        ) from None


def load(folder: str, label: str) -> Call:
    """Load a model and return what calls it: `(n,)` strings in, `(n, dim) float32` out; n from 1.

    Safe for threads.

    Raises:
      DataError: it cannot be loaded, or is no function from strings to vectors.
    """
    tf, hub = _tensorflow()
    try:
        model = hub.load(folder)
    except Exception as error:
        raise DataError(f"cannot load the model {label}: {_cause(error)}; fetch it again") from None
    function = model if callable(model) else _signature(model, label)

    def call(titles: np.ndarray) -> np.ndarray:
        found = function(tf.constant(titles, tf.string))
        if isinstance(found, dict):
            found = found["default"] if "default" in found else next(iter(found.values()))
        return found.numpy()

    call.keep = model  # type: ignore[attr-defined]  # its tables live as long as it
    _check_call(call, label)
    return call


def _signature(model: Any, label: str) -> Any:
    signatures = getattr(model, "signatures", {})
    for name in SIGNATURES:
        if name in signatures:
            function = signatures[name]
            _, named = function.structured_input_signature
            if len(named) != 1:
                raise DataError(f"the model {label} takes {len(named)} inputs, not one string tensor")
            return lambda titles: function(**{next(iter(named)): titles})
    raise DataError(f"the model {label} cannot be called: it has none of the signatures {', '.join(SIGNATURES)}")


def _check_call(call: Call, label: str) -> None:
    """Call a model on a few titles and look at what it gives."""
    try:
        found = call(np.array(PROBES, object))
    except Exception as error:
        raise DataError(f"the model {label} does not take a 1-D tensor of strings: {_cause(error)}") from None
    if found.ndim != 2 or found.dtype != np.float32 or len(found) != len(PROBES) or not found.shape[1]:
        raise DataError(
            f"the model {label} gives {found.dtype} of the shape {found.shape} for {len(PROBES)} titles, not float32 of "
            f"the shape ({len(PROBES)}, dim)"
        )


def _cause(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def examine(folder: str, label: str, *, trust: bool) -> dict[str, Any]:
    """Look through a model, load it, and return what `transforms.embed` has to know of it."""
    call = load(folder, label)
    return {"kind": "generic", "reason": "", "dim": int(call(np.array(PROBES, object)).shape[1])}


def main() -> int:
    """Answer the requests on standard input, a JSON list of [function, keywords], with a JSON list."""
    answers = io.StringIO()
    with contextlib.redirect_stdout(sys.stderr):  # nothing but the answers on standard output
        json.dump([_answer(name, arguments) for name, arguments in json.load(sys.stdin)], answers)
    print(answers.getvalue())
    return 0


def _answer(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"answer": {"resolve": resolve, "examine": examine}[name](**arguments)}
    except (DataError, OptionError) as error:
        return {"error": str(error), "kind": type(error).__name__}


def as_strings(titles: pa.Array) -> np.ndarray:
    """Return titles as an array of objects that TensorFlow takes."""
    return titles.to_numpy(zero_copy_only=False)


if __name__ == "__main__":
    sys.exit(main())
