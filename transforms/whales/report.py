"""The report of the whales job: a contact sheet, the photographs that are likeliest to show an animal first."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.schemas.whales import COUNTERS, REASONS
from molino.transforms.report.charts import bar_plot
from molino.transforms.report.page import Cell, Column, Grid, Picture, Plot, Section, Table, Term, format_cell, page
from molino.transforms.report.run import count, counter_table, reject_table, run_section, shown_warnings
from molino.transforms.warnings import DataWarning

PER_PAGE = 200
MOST_FAILURES = 50  # in the table; the rejects have them all

NO_BOX = ("no_region", "one_colour", "no_colour", "too_small")


def whales_report(
    cards: pa.Table,
    thumbnails: Callable[[Sequence[int]], Mapping[int, bytes]],
    *,
    counters: Mapping[str, int],
    options: Mapping[str, object],
    inputs: Sequence[Mapping[str, Any]],
    warnings: Sequence[DataWarning],
    most: int,
    expected: Mapping[str, Any] | None = None,
) -> Iterator[tuple[str, str]]:
    """Yield (name, HTML) of the report's pages, report.html first. Memory: the thumbnails of `most` images.

    The bytes depend on the arguments only.

    Args:
      cards: `molino.transforms.whales.extract.CARDS` without thumbnails, of every image, in order.
      thumbnails: JPEGs of some images, by their row; what is not there is shown as missing.
      counters: totals of the run by name; `rejects.REASON` splits `rejects`.
      options: the run's options.
      inputs: a `path` and its `bytes` for each input.
      warnings: shown on top.
      most: images in the sheet.
      expected: rows that were reckoned with, see `report_run.run_section`.
    """
    order = by_presence(cards)[:most]
    pictures = thumbnails(order.tolist())
    pages = [order[start : start + PER_PAGE] for start in range(0, len(order), PER_PAGE)] or [order]
    for number, rows in enumerate(pages, 1):
        sheet = _sheet(cards, rows, pictures, shown=len(order), first=(number - 1) * PER_PAGE)
        links = _links(number, len(pages))
        if number > 1:
            yield (
                _page_name(number),
                page("Whales", subtitle=f"Page {number} of the contact sheet.", sections=[sheet], links=links),
            )
            continue
        yield (
            _page_name(1),
            page(
                "Whales",
                subtitle="Whether a whale is in every photograph, and what is least like the rest of it.",
                summary=_summary(counters),
                sections=[
                    _distributions(cards, str(options.get("method", ""))),
                    _failures(cards, counters),
                    *([sheet] if most else []),
                    _quality(counters),
                    run_section(
                        options, inputs, made="rows", expected=expected, counters=counters, whole="images_read"
                    ),
                ],
                warnings=shown_warnings(warnings),
                links=links,
            ),
        )


def by_presence(cards: pa.Table) -> np.ndarray:
    """Return the rows of images that are no rejects, by presence from 1 down, then by key."""
    table = pa.table({"row": np.arange(len(cards)), "key": cards["key"], "presence": cards["presence"]})
    kept = table.filter(pc.invert(cards["failed"]))
    return kept.sort_by([("presence", "descending"), ("key", "ascending")])["row"].to_numpy()


def _page_name(number: int) -> str:
    return "report.html" if number == 1 else f"report/page-{number:04d}.html"


def _links(number: int, pages: int) -> list[tuple[str, str]]:
    if pages < 2:
        return []
    links = []
    for other in range(1, pages + 1):
        name = _page_name(other)
        relative = name if number == 1 else f"../{name}" if other == 1 else name.removeprefix("report/")
        links.append((str(other), "" if other == number else relative))
    return links


def _sheet(cards: pa.Table, rows: np.ndarray, thumbnails: Mapping[int, bytes], *, shown: int, first: int) -> Section:
    pictures = [
        _picture(card, thumbnails.get(row, b""))
        for row, card in zip(rows.tolist(), cards.take(pa.array(rows)).to_pylist(), strict=True)
    ]
    good = len(cards) - pc.sum(cards["failed"]).as_py() if len(cards) else 0
    text = (
        "The likeliest to show an animal come first: by presence, a score from 0 to 1, and from 0.5 on one is taken to "
    )
    text += (
        "be there. Look around that value. Red: the box, which is drawn with or without an animal. Yellow: the edge "
    )
    text += "of the mask."
    if shown < good:
        text += f" The sheet has the first {shown:,} of {good:,} images; --report-images sets how many."
    caption = f"{first + 1:,} to {first + len(rows):,} of {shown:,}" if len(rows) else ""
    return Section("Contact sheet", text, [Grid(pictures, caption)])


def _picture(card: Mapping[str, Any], thumbnail: bytes) -> Picture:
    size = f"{card['width']} × {card['height']}"
    box = f"box {card['share']:.1%} of {size}" if card["share"] is not None else f"{size}"
    marks = ["damaged"] if card["damaged"] else []
    marks += [card["status"].replace("_", " ")] if card["share"] is None else []
    note = f"presence {card['presence']:.2f} · {box}"
    return Picture(jpeg=thumbnail, title=card["key"], note=note, mark=", ".join(marks))


def _summary(counters: Mapping[str, int]) -> list[tuple[str, str]]:
    without = sum(counters.get(f"status.{status}", 0) for status in NO_BOX)
    shown = [
        ("images read", counters.get("images_read", 0)),
        ("with an animal", counters.get("present", 0)),
        ("with a box", counters.get("status.found", 0)),
        ("without a box", without),
        ("rejected", counters.get("rejects", 0)),
        ("duplicates", counters.get("duplicates", 0)),
    ]
    return [(title, format_cell(number, "count")) for title, number in shown]


SCORES = {
    "saliency": ("Part of what is unlike water, %", "How much of what is unlike water the animal has"),
    "": ("Part of the mask, %", "How much of the mask lies in the box"),
}


def _distributions(cards: pa.Table, method: str) -> Section:
    kept, found = cards.filter(pc.invert(cards["failed"])), cards.filter(pc.is_valid(cards["share"]))
    text = (
        "Presence tells photographs with an animal, from 0.5 up, from those without. Most boxes should have about the "
    )
    text += "same share of their image; the outliers are worth a look. The third number is of the box alone, and tells "
    text += "nothing of an animal."
    return Section(
        "Presence and boxes",
        text,
        [
            _histogram(kept["presence"].to_numpy(), 10, "Presence, %", "Whether an animal is there"),
            _histogram(found["share"].to_numpy(), 20, "Share of the image, %", "How large the boxes are"),
            _histogram(found["score"].to_numpy(), 10, *SCORES.get(method, SCORES[""])),
        ],
    )


def _histogram(values: np.ndarray, bins: int, label: str, caption: str) -> Plot:
    """Return a plot of how many values from 0 to 1 lie in each of equal bins."""
    counts = np.bincount(np.minimum((values * bins).astype(int), bins - 1), minlength=bins)
    groups = [str(100 * i // bins) for i in range(bins)]
    alt = f"{caption}: {count(len(values), 'image')}, median {np.median(values) if len(values) else 0:.0%}"
    heights = {"images": counts.tolist()} if len(values) else {}
    return bar_plot(groups, heights, x_label=f"{label}, from", y_label="images", caption=caption, alt=alt)


def _failures(cards: pa.Table, counters: Mapping[str, int]) -> Section:
    failed = cards.filter(cards["failed"])
    rows: list[tuple[Cell, ...]] = [
        (Term(card["key"], card["detail"]), card["status"]) for card in failed.slice(0, MOST_FAILURES).to_pylist()
    ]
    more = f": the first {MOST_FAILURES}" if len(failed) > MOST_FAILURES else ""
    columns = (Column(title="Image, and what was found"), Column(title="Reason"))
    text = "What could not be decoded, and why. Every one is a row of rejects."
    tables = [reject_table(counters, REASONS, noun="images"), Table(columns, rows, f"Rejected images{more}")]
    return Section("Failures", text, tables)


def _quality(counters: Mapping[str, int]) -> Section:
    text = "Every image is accounted for: rows and rejects add up to the images read."
    return Section("Counters", text, [counter_table(counters, COUNTERS, whole="images_read")])
