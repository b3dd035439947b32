"""What is installed with TensorFlow is enough for the jobs that need it."""

import pytest

from tests.setup.installed import assert_enough

ENOUGH = [
    "sample titles --output t.csv --rows 2000",
    "model train --input t.csv --output model --dim 8 --epochs 1",
    "titles --input t.csv --model small=model --output titles --quiet",
    "train titles --input titles --model small=model --epochs 1 --output classifier --quiet",
    "predict --model classifier --input t.csv --output predictions --quiet",
]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_extra_of_tensorflow_is_enough_for_its_jobs(install, hostile):
    assert_enough(install("tensorflow"), hostile, "tensorflow", ENOUGH)
