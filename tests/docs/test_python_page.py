"""The page on Python: what it shows runs as it stands."""

import importlib.util
import os
import re
from pathlib import Path

import numpy as np
import pytest

import molino
from molino.transforms.images.encode import encode_png
from molino.transforms.whales.sample import sample_whales
from tests.docs.test_training_page import made_run  # noqa: F401  a fixture
from tests.every_job import prepare

PAGE = (Path(__file__).resolve().parents[2] / "docs/python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
RUN = next(block for block in BLOCKS if "molino.run(" in block)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    prepare("names", folder)
    molino.run("names", input=folder / "in.txt", output=folder / "names", quiet=True)
    return folder / "names"


@pytest.fixture(scope="module")
def whales(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crops")
    sample_whales(str(folder / "sea"), images=6, width=300, height=200)
    (folder / "sea/images/plain.png").write_bytes(encode_png(np.zeros((20, 30, 3), np.uint8)))  # one without a box
    molino.run("whales", input=folder / "sea/images", output=folder / "whales", kernel=9, crop_size=64, quiet=True)
    return folder / "whales"


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in BLOCKS if block != RUN], ids=lambda block: block.splitlines()[0])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of the libraries that are shown
def test_what_the_page_shows_runs(block, names, whales, made_run, monkeypatch):  # noqa: F811
    if "import torch" in block and not importlib.util.find_spec("torch"):
        pytest.skip("torch is not installed")
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(made_run / "cache"))
    os.symlink(names, "demo/names")
    os.symlink(whales, "demo/whales")
    exec(compile(block, "docs/python.md", "exec"), {"molino": molino})


def test_what_runs_on_the_page_is_a_command(monkeypatch):
    calls = []
    monkeypatch.setattr(molino, "run", lambda job, **options: calls.append((job, options)))
    exec(compile(RUN, "docs/python.md", "exec"), {"molino": molino})
    assert [job for job, _ in calls] == ["names", "titles", "train titles"]
    from molino.jobs.run.call import find_job, to_words

    for job, options in calls:
        parser = find_job(job).parser()
        parser.raises = True
        parser.parse_strictly(to_words(options, parser))
