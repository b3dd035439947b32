"""Keras and what it computes with, loaded without their chatter."""

import importlib.util
import os

from molino.quiet import silent_tensorflow
from molino.transforms.errors import DataError

BACKENDS = ("tensorflow", "jax", "torch")


def choose_backend(*, only_tensorflow: str = "") -> str:
    """Return the backend of KERAS_BACKEND; raise DataError where it is not there, or not `only_tensorflow`."""
    name = os.environ.get("KERAS_BACKEND") or BACKENDS[0]
    if name not in BACKENDS:
        raise DataError(f"KERAS_BACKEND is {name}; choose one of {', '.join(BACKENDS)}")
    if only_tensorflow and name != BACKENDS[0]:
        raise DataError(f"KERAS_BACKEND is {name}; {only_tensorflow} needs tensorflow")
    for package in ("keras", name):
        if importlib.util.find_spec(package) is None:
            raise DataError(
                f"training needs Keras and its backend, and there is no module {package}; "
                "pip install -r requirements/tensorflow.txt, or set KERAS_BACKEND"
            )
    return name


def load_keras() -> None:
    """Import Keras and its backend. Raises ImportError where they are not there."""
    os.environ.setdefault("KERAS_BACKEND", BACKENDS[0])
    with silent_tensorflow():
        import keras

        keras.ops.convert_to_numpy(keras.ops.zeros(1))
