"""The contact sheet: by presence, paged, bounded, and harmless whatever a file is called."""

import re

import pyarrow as pa
import pytest

from molino.schemas.whales import REASONS
from molino.transforms.report.run import RunFacts
from molino.transforms.whales.extract import CARDS
from molino.transforms.whales.report import NO_BOX, PER_PAGE, TERMS, by_presence, whales_report
from tests.transforms.report.test_page import HOSTILE, assert_harmless

COUNTERS = {
    "images_read": 9,
    "regions": 7,
    "rejects": 2,
    "status.found": 6,
    "status.no_region": 1,
    "rejects.damaged": 2,
}


def card(key, presence=None, *, status="found", failed=False, detail="", damaged=False):
    score = share = None if status != "found" or presence is None else 0.125
    return {
        "key": key,
        "sha256": key,
        "failed": failed,
        "status": status,
        "detail": detail,
        "width": 30,
        "height": 20,
        "share": share,
        "score": score,
        "presence": presence,
        "damaged": None if failed else damaged,
        "crop_file": None,
        "file": None,
        "thumbnail": None,
    }


def table(cards):
    return pa.Table.from_pylist(cards, CARDS).drop_columns(["thumbnail", "file"])


def pages(cards, most=2000, **changes):
    known = {"counters": COUNTERS, "options": {"method": "original"}, "warnings": []}
    known["inputs"] = [{"path": "/sea", "files": 9, "bytes": 10}]
    asked = []

    def thumbnails(rows):
        asked.extend(rows)
        return {row: (b"\xff\xd8%d" % row, f"/sea/{row}.jpg" if row % 2 else "") for row in rows}

    facts = RunFacts(terms=TERMS, balance=("images_read", ("regions", "rejects")), **(known | changes))
    return dict(whales_report(table(cards), thumbnails, facts, most=most)), asked


def test_pictures_lead_to_the_photograph_and_to_the_crop_from_every_page():
    cards = [card(f"{number:04}", 0.5) | {"crop_file": f"crops/{number}.jpg"} for number in range(PER_PAGE + 2)]
    made, _ = pages(cards)
    second = made["report/page-0002.html"]
    hrefs = re.findall(r'<a href="([^"]*)">(?:photograph|crop)<', second)
    assert hrefs == [f"../crops/{PER_PAGE}.jpg", f"file:///sea/{PER_PAGE + 1}.jpg", f"../crops/{PER_PAGE + 1}.jpg"]
    assert '<a href="file:///sea/1.jpg">photograph<' in made["report.html"]
    assert '<a href="crops/0.jpg">crop<' in made["report.html"]


def test_the_likeliest_to_show_an_animal_come_first():
    cards = [
        card("b", 0.9),
        card("a", 0.9),
        card("c", 0.1),
        card("d", 0.6, status="no_region", damaged=True),
        card("e", failed=True, status="damaged"),
    ]
    assert by_presence(table(cards)).tolist() == [1, 0, 3, 2]
    made, asked = pages(cards)
    found = assert_harmless(made["report.html"])
    assert [alt for _, alt in found.photographs()] == ["a", "b", "d", "c"]
    assert [jpeg for jpeg, _ in found.photographs()] == [b"\xff\xd8%d" % row for row in (1, 0, 3, 2)]
    assert asked == [1, 0, 3, 2]
    assert "presence 0.10 · box 12.5% of 30 × 20" in found.text
    assert "presence 0.60 · 30 × 20" in found.text
    assert "damaged, no region" in found.text
    assert "sure" not in found.text


def test_the_sheet_is_paged_and_bounded():
    cards = [card(f"{i:04d}", 1 - i / 1000) for i in range(PER_PAGE * 3)]
    made, _ = pages(cards, most=PER_PAGE * 2 + 1)
    assert list(made) == ["report.html", "report/page-0002.html", "report/page-0003.html"]
    shown = [[alt for _, alt in assert_harmless(html).photographs()] for html in made.values()]
    assert [len(alts) for alts in shown] == [PER_PAGE, PER_PAGE, 1]
    assert sum(shown, []) == [f"{i:04d}" for i in range(PER_PAGE * 2 + 1)]  # noqa: RUF017
    assert "the first 401 of 600 images" in assert_harmless(made["report.html"]).text
    links = [
        a["href"]
        for tag, a in assert_harmless(made["report/page-0002.html"]).tags
        if tag == "a" and a["href"].endswith(".html")
    ]
    assert links == ["../report.html", "page-0003.html"] * 2
    assert list(pages(cards, most=0)[0]) == ["report.html"]
    assert assert_harmless(pages(cards, most=0)[0]["report.html"]).photographs() == []


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_is_shown_and_does_nothing(text):
    cards = [
        card(text, 0.5),
        card(text + "2", 0.1, status=text),
        card(text + "3", failed=True, status=text, detail=text),
    ]
    made, _ = pages(cards, warnings=[text], options={text: text}, inputs=[{"path": text, "bytes": 1}])
    found = assert_harmless(made["report.html"])
    assert found.text.count(text) >= 7
    assert text in [alt for _, alt in found.photographs()]


def test_failures_are_shown_with_their_reasons():
    made, _ = pages([card("bad.jpg", failed=True, status="damaged", detail="checksum")])
    text = assert_harmless(made["report.html"]).text
    assert "bad.jpg" in text
    assert "checksum" in text
    assert REASONS["damaged"] in text


def test_nothing_at_all_is_a_page():
    made, asked = pages([], counters={})
    assert_harmless(made["report.html"])
    assert asked == []


def test_the_same_cards_give_the_same_bytes():
    cards = [card("a", 0.5), card("b", 0.2)]
    assert pages(cards) == pages(cards)


def test_statuses_and_reasons_are_those_of_the_code():
    from molino.transforms.images.decode import ImageError
    from molino.transforms.whales.extract import NO_COLOUR, NO_REGION, ONE_COLOUR, TOO_SMALL

    assert set(NO_BOX) == {NO_REGION, ONE_COLOUR, NO_COLOUR, TOO_SMALL}
    listed = (ImageError.__doc__ or "").split("reason: ")[1].split("detail:")[0]
    assert {name for name in REASONS if name in listed} == REASONS.keys() - {"too_many_bytes", "crashed", "null_bytes"}
