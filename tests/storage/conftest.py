"""A store for each module of tests: S3 by moto, Cloud Storage by the stand-in beside this file."""

from pathlib import Path

import pytest

from tests.own_environment import python_with
from tests.storage.stores import serve

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def client(request):
    """Return the Python of an environment with moto, boto3, and all that is in this one."""
    return python_with(request.config.cache, "storage", HERE / "requirements.txt", beside=True)


@pytest.fixture(scope="module", params=["s3", "gs"])
def empty_store(request, client, tmp_path_factory):
    with serve(request.param, client, tmp_path_factory.mktemp(request.param)) as store:
        yield store
