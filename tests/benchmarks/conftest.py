"""What tests of the benchmarks share."""

import pytest


@pytest.fixture(autouse=True)
def _free_memory_stays_free(monkeypatch):
    monkeypatch.setenv("MOLINO_BENCH_FILL", "no")
