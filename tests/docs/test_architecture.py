"""The page on architecture names the rooms that there are, and carriers and transforms that exist."""

import importlib
import re

from docs import make_pictures
from tests.test_layers import DOMAINS, ROOT, RULES, SHARED

PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def test_the_map_has_every_room():
    tree = PAGE.split("```text")[1].split("```")[0]
    named = set(re.findall(r"([a-z]+)/", tree))
    assert {room.split("/")[-1] for room in set(RULES) - DOMAINS} <= named
    table = PAGE.split("## The rules")[1].split("## ")[0]
    for room in set(RULES) - DOMAINS - {"molino", "transforms", "jobs"}:
        assert f"`{room}`" in table, room
    assert set(RULES) >= SHARED | DOMAINS


def test_the_diagrams_are_those_of_the_code(tmp_path):
    made = dict(make_pictures.make(["diagrams"]))
    assert made == {name: (make_pictures.IMAGES / name).read_bytes() for name in ("rooms.svg", "run.svg")}
    steps = [ROOT / "jobs" / f"{where}.py" for _, where in make_pictures.STEPS if re.fullmatch(r"run/\w+", where)]
    assert len(steps) >= 4
    assert all(step.exists() for step in steps)


def test_edges_that_follow_from_others_are_left_out():
    edges = {"a": {"b", "c", "d"}, "b": {"c"}, "c": {"d"}}
    assert make_pictures.reduce_edges(edges) == {"a": {"b"}, "b": {"c"}, "c": {"d"}}


def test_the_carriers_are_where_the_table_says():
    table = PAGE.split("## What travels")[1].split("## ")[0]
    carriers = re.findall(r"^\| `(\w+)` \(`(\w+/\w+)`\)", table, re.MULTILINE)
    assert len(carriers) == 4
    for name, module in carriers:
        assert hasattr(importlib.import_module("molino.transforms." + module.replace("/", ".")), name)


def test_every_name_of_code_exists():
    """Functions and transforms that the page names are defined somewhere in the sources."""
    source = "\n".join(path.read_text() for room in ("jobs", "transforms") for path in (ROOT / room).rglob("*.py"))
    way = PAGE.split("## The way of a row")[1]
    names = set(re.findall(r"[A-Z][a-z]+[A-Z]\w+", way)) | set(re.findall(r"\b[a-z]+_[a-z]+\b", way))
    names -= {"RecordBatch", "birth_year", "git_sha"}
    for name in names:
        assert re.search(rf"\b(class|def) {name}\b|\b{name}\b", source), name
    for module in re.findall(r"`(rows|parquet|run)/(\w+)`", PAGE.split("## The core")[1]):
        folder = "jobs" if module[0] == "run" else "transforms"
        assert (ROOT / folder / module[0] / f"{module[1]}.py").exists(), module
