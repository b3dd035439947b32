"""What is kept away from libraries while they are imported."""

import concurrent.futures
import importlib
import subprocess
import sys

import pytest

from molino import quiet


def test_packages_are_not_found_within_a_block_by_one_thread():
    def find(name):
        sys.modules.pop(name, None)  # what is imported already is found
        try:
            return bool(importlib.import_module(name))
        except ModuleNotFoundError:
            return False

    with quiet.without(("colorsys", "wave")), concurrent.futures.ThreadPoolExecutor(1) as others:
        assert [find(name) for name in ("colorsys", "wave")] == [False, False]
        assert others.submit(find, "colorsys").result()
    assert find("wave")


@pytest.mark.slow
def test_beam_comes_without_pandas_and_pandas_works_afterwards():
    program = """
import sys
from molino import quiet
quiet.import_beam()
assert "apache_beam" in sys.modules and "pandas" not in sys.modules
import pyarrow as pa
pa.array([1, None])
assert "pandas" not in sys.modules
print(pa.table({"a": [1, 2]}).to_pandas()["a"].sum(), pa.float32().to_pandas_dtype().__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "3 float32\n", done.stderr
