"""What tests of several folders share."""

import os
import warnings

import pytest


@pytest.fixture(scope="session")
def hub():
    """TF Hub, loaded once and without its chatter."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("tensorflow_hub")
