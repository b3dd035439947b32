import pytest

from molino.training import backend
from molino.transforms.errors import DataError


@pytest.mark.parametrize("name", ["numpy", "nonsense"])
def test_a_backend_that_cannot_train_is_named(monkeypatch, name):
    monkeypatch.setenv("KERAS_BACKEND", name)
    with pytest.raises(DataError, match=f"KERAS_BACKEND is {name}; choose one of tensorflow, jax"):
        backend.choose_backend()


def test_a_backend_that_lacks_or_is_not_installed_is_named(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(DataError, match="KERAS_BACKEND is jax; a SavedModel needs tensorflow"):
        backend.choose_backend(only_tensorflow="a SavedModel")
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="there is no module keras; pip install"):
        backend.choose_backend()
