"""The report of a sweep: every network is in the gallery, and the figures are those of the rows."""

import html as html_module
import re

import pyarrow as pa

from molino.schemas.shapes import COUNTERS
from molino.transforms.report.run import RunFacts
from molino.transforms.shapes.report import FILTERS, ORDERS, TERMS, gallery_section, group_seeds, shapes_report
from molino.transforms.shapes.run_network import CARDS
from tests.transforms.report.test_page import HOSTILE, assert_harmless

TOTALS = {"networks": 6, "runs": 6, "predictions": 60, "points": 600, "diverged": 1}
OPTIONS = {"plots": True, "sweep": [{"hidden": [[1], [10, 5]], "batch": [100]}]}


def card(number, problem="ring", hidden=(10,), accuracy=0.9, **changes):
    usual = {
        "run": number,
        "problem": problem,
        "r": None if problem == "linear" else 0.75,
        "hidden": list(hidden),
        "batch": 100,
        "steps": 1000,
        "rate": 0.5,
        "decay": 1.0,
        "decay_steps": 3500,
        "l2": 0.00125,
        "deviation": 0.0441,
        "seed": 1,
        "parameters": 42,
        "loss": 0.5,
        "train_accuracy": accuracy + 0.01,
        "validation_accuracy": accuracy,
        "test_accuracy": accuracy,
        "base": 0.6,
        "diverged": False,
        "curve_step": [0],
        "curve_loss": [0.7],
        "thumbnail": b"\xff\xd8%d" % number,
    }
    return usual | changes


CARDS_OF_SIX = [
    card(0, hidden=(1,), accuracy=0.6),
    card(1, accuracy=0.91),
    card(2, accuracy=0.99, seed=2),
    card(3, hidden=(1000, 10), accuracy=0.95, steps=20_000),
    card(4, "linear", accuracy=0.97),
    card(5, "linear", accuracy=0.5, diverged=True, r=None, hidden=(1,)),
]


def made(cards=CARDS_OF_SIX, **changes):
    fields = [CARDS.field(name) for name in CARDS.names if name != "seconds"]
    given = {"counters": TOTALS, "options": OPTIONS, "warnings": ["2 networks stand there twice"]} | changes
    facts = RunFacts(terms=TERMS, balance=("networks", ("runs",)), **given)
    return shapes_report(pa.Table.from_pylist(cards, pa.schema(fields)), facts)


def test_every_network_is_in_the_gallery():
    page = made()
    found = assert_harmless(page)
    assert [jpeg for jpeg, _ in found.photographs()] == [b"\xff\xd8%d" % number for number in range(6)]
    assert [alt for _, alt in found.photographs()][:3] == ["ring 60.0%", "ring 91.0%", "ring 99.0%"]
    assert "2 networks stand there twice" in found.text
    assert "hidden: 1, 10 · 5; batch: 100" in found.text
    assert len(found.pictures()) == 2


def test_the_gallery_sorts_and_filters_by_what_differs():
    [gallery] = gallery_section(CARDS_OF_SIX).parts
    assert [(heading, choices) for heading, choices, _ in gallery.filters] == [
        ("Problem", ["ring", "linear"]),
        ("Layers", ["1", "2"]),
        ("Nodes", ["1", "10", "1,000 · 10"]),
        ("Steps", ["1,000", "20,000"]),
        ("Seed", ["1", "2"]),
    ]
    assert {heading for heading, _, _ in gallery.filters} < set(FILTERS)
    assert list(gallery.orders) == list(ORDERS)
    by = gallery.orders
    assert by["sweep"] == [0, 1, 2, 3, 4, 5]
    assert by["accuracy, highest first"] == [4, 3, 0, 2, 1, 5]
    assert by["accuracy, lowest first"] == [1, 2, 5, 3, 4, 0]
    assert by["points seen, most first"] == [1, 2, 3, 0, 4, 5]
    marks = [picture.mark for picture in gallery.pictures]
    assert marks == ["not above base", "", "", "", "", "diverged"]


def test_seeds_are_told_together():
    groups = group_seeds(CARDS_OF_SIX)
    assert [[run["run"] for run in group] for group in groups] == [[0], [1, 2], [3], [4], [5]]
    page = html_module.unescape(re.sub("<[^>]+>", " ", made()))
    assert re.search(r"ring, 10\s+batch 100, 1,000 steps\s+2\s+91\.00%\s+95\.00%\s+99\.00%\s+8\.00%", page)


def test_plots_say_the_best_of_each_width_and_depth():
    alts = [alt for _, alt in assert_harmless(made()).pictures()]
    assert alts[0].endswith("linear with 1 50%; linear with 10 97%; ring with 1 60%; ring with 10 95%")
    assert alts[1].endswith("linear with 1 97%; ring with 1 95%; ring with 2 95%")


def test_the_same_rows_give_the_same_bytes():
    assert made() == made()


def test_a_sweep_of_one_network_and_of_deep_ones_alone_is_shown():
    for cards in (CARDS_OF_SIX[:1], CARDS_OF_SIX[3:4]):
        found = assert_harmless(made(cards, warnings=[]))
        assert len(found.photographs()) == 1


def test_a_network_without_a_picture_is_told():
    assert "No picture" in made([card(0, thumbnail=None)])


def test_nothing_in_the_options_can_act():
    for text in HOSTILE:
        assert_harmless(made(options={"sweep": [{"problem": [text]}], "note": text}, warnings=[text]))


def test_counters_are_explained():
    text = assert_harmless(made()).text
    assert all(COUNTERS[name] in text for name in TOTALS)
