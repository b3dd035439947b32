"""Small language models, built once for all tests."""

import pathlib

import numpy as np
import pytest

from molino.transforms.models import embed
from tests.answers import ask_here
from tests.transforms.small_models import BUCKETS, WORDS, Small


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """The folder of the models' cache, for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("MOLINO_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def small(tmp_path_factory, hub) -> dict[str, Small]:
    """Models with and without normalization and empty tokens, of 5 and of 20 dimensions, by name."""
    from molino.training.nnlm_export import export_nnlm

    root = tmp_path_factory.mktemp("models")
    made = {}
    for number, (normalization, keep_empty, dim) in enumerate(
        [(False, False, 5), (False, True, 5), (True, False, 5), (True, True, 5), (True, False, 20)]
    ):
        name = f"dim{dim}{'-normalization' * normalization}{'-empty' * keep_empty}"
        vectors = np.random.default_rng(number).standard_normal((len(WORDS) + BUCKETS, dim), dtype=np.float32)
        folder = str(root / name)
        export_nnlm(folder, WORDS, vectors, buckets=BUCKETS, normalization=normalization, keep_empty=keep_empty)
        made[name] = Small(folder, normalization, keep_empty, vectors)
    return made


_ask = embed.ask_tensorflow


@pytest.fixture(scope="session")
def asked_here():
    """From here on, answer in this process what is else asked of another: TensorFlow is here already."""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embed, "ask_tensorflow", ask_here)
        patch.setattr(embed, "start_tensorflow", lambda: None)
        yield


@pytest.fixture
def asked_there(monkeypatch):
    """Ask another process, as without tests."""
    monkeypatch.setattr(embed, "ask_tensorflow", _ask)


@pytest.fixture(scope="session")
def planned(small, cache, asked_here):
    """The same models as planned, by name."""
    return {model.name: model for model in embed.plan_models({name: one.folder for name, one in small.items()})}


@pytest.fixture(scope="session")
def save(tmp_path_factory, hub):
    """Save a function of a 1-D string tensor as a model of its own; return its folder."""
    import tensorflow as tf

    def save_function(function, *, spec=None, **attributes) -> str:
        module = tf.Module()
        for name, value in attributes.items():
            setattr(module, name, value)
        signature = [tf.TensorSpec([None], tf.string) if spec is None else spec]
        module.__call__ = tf.function(function, input_signature=signature)
        folder: pathlib.Path = tmp_path_factory.mktemp("saved")
        tf.saved_model.save(module, str(folder))
        return str(folder)

    return save_function
