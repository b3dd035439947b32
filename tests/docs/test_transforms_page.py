"""The page on transforms: its code runs as it stands, one block after the other, and Beam warns of nothing."""

import logging
import os
import re
from pathlib import Path

import apache_beam  # noqa: F401  what it says of itself when it is imported is not of our transforms
import cv2
import pandas as pd
import pyarrow.parquet as pq
import pytest

from molino.transforms.names.sample import sample_names
from molino.transforms.whales.sample import sample_whales
from tests.transforms.conftest import asked_here, cache, small  # noqa: F401  fixtures

PAGE = (Path(__file__).resolve().parents[2] / "docs/transforms.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.usefixtures("asked_here", "cache")
def test_what_the_page_shows_runs(small, tmp_path, monkeypatch, caplog, capfd):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    sample_names("demo/sep.txt", rows=2000)
    people = pd.read_csv("demo/sep.txt", sep="|", encoding="latin-1", dtype=str, keep_default_na=False)
    with open("demo/sep.txt", "a") as file:
        file.write("no|record\n")
    sample_whales("demo/sea", images=2, width=300, height=200)
    os.symlink(small["dim5"].folder, "demo/model")
    results: dict = {}
    with caplog.at_level(logging.WARNING):
        for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
            exec(compile(block, "docs/transforms.md", "exec"), results)
    shown, wrong = capfd.readouterr()
    assert caplog.messages == []
    assert wrong == ""
    lines = shown.splitlines()
    assert "{'name': 'Ana', 'town': 'Taxco', 'year': 2012}" in lines
    assert "Tula" not in shown
    assert "2000 ['curp', 'nombre', 'position']" in lines
    assert "'source': 'sep.txt', 'line': 2002" in shown
    assert str(people["CURP"].nunique()) in lines
    assert "(2, 5) 5" in lines
    assert "fixed_size_list<item: float>[5]" in lines
    titles = results["titles"]["title"].to_pylist()
    (own,), (staged,) = Path("demo/out").glob("titles-*.parquet"), Path("demo/out/titles").glob("*.parquet")
    assert pq.read_table(own)["title"].to_pylist() == pq.read_table(staged)["title"].to_pylist() == titles
    height, width = cv2.imread("demo/sea/images/w_00001.jpg").shape[:2]
    left, top, across, down = results["region"].box
    assert 0 <= left < left + across <= width
    assert 0 <= top < top + down <= height
