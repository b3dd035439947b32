"""Running a job from the command line and from Python."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_beam_comes_without_pandas_and_pandas_works_afterwards():
    program = """
import sys
from molino.jobs.run.call import import_beam
import_beam()
assert "apache_beam" in sys.modules and "pandas" not in sys.modules
import pyarrow as pa
pa.array([1, None])
assert "pandas" not in sys.modules
print(pa.table({"a": [1, 2]}).to_pandas()["a"].sum(), pa.float32().to_pandas_dtype().__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "3 float32\n", done.stderr
