"""The report of the whales job: a contact sheet, the photographs that are likeliest to show an animal first."""

import os
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.schemas.whales import COUNTERS, REASONS
from molino.transforms.parquet.scratch import read_scratch
from molino.transforms.parquet.shards import StagedFile, write_view
from molino.transforms.report.charts import histogram
from molino.transforms.report.page import Gallery, Picture, Plot, Section, Table, Term, format_number, page
from molino.transforms.report.run import JobTerms, RunFacts, data_lines, run_page
from molino.transforms.warnings import many
from molino.transforms.whales.boxes import BOX, write_boxes
from molino.transforms.whales.extract import CARDS, TOLD

PER_PAGE = 200
MOST_FAILURES = 50  # in the table; the rejects have them all

TERMS = JobTerms(
    counters=COUNTERS,
    reasons=REASONS,
    noun="images",
    flags={"columns.data": "--bytes-column", "columns.keep": "--keep", "thumbnails": "pictures in the report"},
)
SUMMARY = {
    "images read": "images_read",
    "with an animal": "present",
    "with a box": "status.found",
    "rejected": "rejects",
    "duplicates": "duplicates",
}
NO_BOX = ("no_region", "one_colour", "no_colour", "too_small")


def write_sheet_and_boxes(
    files: Sequence[StagedFile], counters: Mapping[str, int], run: Any, *, most: int
) -> Iterator[StagedFile | Mapping[str, int]]:
    """Stage the boxes and the report's pages, of `most` images, and count duplicates: of rows and options alone."""
    yield from write_boxes(files, run.staging, method=run.options["method"], form=run.options["csv"])
    plain = [name for name in CARDS.names if name not in ("thumbnail", "file", *BOX, *TOLD)]
    schema = pa.schema([CARDS.field(name) for name in plain], CARDS.metadata)
    cards = pa.Table.from_batches(read_scratch(files, "_cards", plain), schema)
    counted = {"duplicates": len(cards) - pc.count_distinct(cards["sha256"]).as_py()}
    yield counted
    facts = RunFacts.of(run, {**counters, **counted}, TERMS)
    for name, html in whales_report(cards, lambda rows: _read_shown(files, rows), facts, most=most):
        yield write_view(html.encode(), folder=run.staging, name=name)


def _read_shown(files: Sequence[StagedFile], rows: Sequence[int]) -> dict[int, tuple[bytes, str]]:
    """Return the thumbnail of some cards, and the photograph's absolute path, or "".

    Cards are named by their number over all units.
    """
    wanted, found = set(rows), dict[int, tuple[bytes, str]]()
    parts = read_scratch(files, "_cards", ["thumbnail", "file"]) if wanted else ()
    for row, card in enumerate(card for part in parts for card in zip(*part.columns, strict=True)):
        if row in wanted:
            jpeg, path = (value.as_py() for value in card)
            found[row] = jpeg or b"", os.path.abspath(os.fsdecode(path)) if path else ""
    return found


def whales_report(
    cards: pa.Table, look_up: Callable[[Sequence[int]], Mapping[int, tuple[bytes, str]]], facts: RunFacts, *, most: int
) -> Iterator[tuple[str, str]]:
    """Yield (name, HTML) of the report's pages, report.html first. Memory: the thumbnails of `most` images.

    The bytes depend on the arguments only: `cards` are CARDS without thumbnails, of every image, in order; `look_up`
    gives the JPEG of some images by their row, and the photograph's path or ""; what is not there is shown as
    missing.
    """
    order = by_presence(cards)[:most]
    pictures = look_up(order.tolist())
    pages = [order[start : start + PER_PAGE] for start in range(0, len(order), PER_PAGE)] or [order]
    for number, rows in enumerate(pages, 1):
        folder = posixpath.dirname(_page_name(number))
        sheet = _sheet(cards, rows, pictures, folder=folder, shown=len(order), first=(number - 1) * PER_PAGE)
        links = _links(number, len(pages))
        if number > 1:
            subtitles = [f"Page {number} of the contact sheet.", *data_lines(facts.inputs)]
            yield _page_name(number), page("Whales", subtitle=subtitles, sections=[sheet], links=links)
            continue
        sections = [sheet] if most else []
        sections += [_distributions(cards, str(facts.options.get("method", ""))), *_failures(cards)]
        subtitle = "Whether a whale is in every photograph, and what is least like the rest of it."
        files = [(name, name) for name in ("boxes.csv", "megadetector.json")]
        without = sum(facts.counters.get(f"status.{status}", 0) for status in NO_BOX)
        figures = facts.figures(SUMMARY)
        summary = [*figures[:3], ("without a box", format_number(without)), *figures[3:]]
        html = run_page("Whales", facts, subtitle=subtitle, summary=summary, sections=sections, links=[*links, *files])
        yield _page_name(1), html


def by_presence(cards: pa.Table) -> np.ndarray:
    """Return the rows of images that are no rejects, by presence from 1 down, then by key."""
    table = pa.table({"row": np.arange(len(cards)), "key": cards["key"], "presence": cards["presence"]})
    kept = table.filter(pc.invert(cards["failed"]))
    return kept.sort_by([("presence", "descending"), ("key", "ascending")])["row"].to_numpy()


def _page_name(number: int) -> str:
    return "report.html" if number == 1 else f"report/page-{number:04d}.html"


def _links(number: int, pages: int) -> list[tuple[str, str]]:
    """Return the number and the address of every page, as seen from one of them; none of a single page."""
    if pages < 2:
        return []
    names = {other: _page_name(other) for other in range(1, pages + 1)}
    folder = posixpath.dirname(names[number]) or "."
    return [(str(other), "" if other == number else posixpath.relpath(names[other], folder)) for other in names]


def _sheet(
    cards: pa.Table, rows: np.ndarray, pictures: Mapping[int, tuple[bytes, str]], *, folder: str, shown: int, first: int
) -> Section:
    figures = [
        _picture(card, *pictures.get(row, (b"", "")), folder)
        for row, card in zip(rows.tolist(), cards.take(pa.array(rows)).to_pylist(), strict=True)
    ]
    good = len(cards) - pc.sum(cards["failed"]).as_py() if len(cards) else 0
    text = (
        "The likeliest to show an animal come first: by presence, a score from 0 to 1, and from 0.5 on one is taken to "
        "be there. Look around that value. Red: the box, which is drawn with or without an animal. Yellow: the edge "
        "of the mask."
    )
    if shown < good:
        text += f" The sheet has the first {shown:,} of {good:,} images; --report-images sets how many."
    caption = f"{first + 1:,} to {first + len(rows):,} of {shown:,}" if len(rows) else ""
    return Section("Contact sheet", text, [Gallery(figures, caption)])


def _picture(card: Mapping[str, Any], thumbnail: bytes, path: str, folder: str) -> Picture:
    size = f"{card['width']} × {card['height']}"
    box = f"box {card['share']:.1%} of {size}" if card["share"] is not None else size
    marks = ["damaged"] if card["damaged"] else []
    marks += [card["status"].replace("_", " ")] if card["share"] is None else []
    note = f"presence {card['presence']:.2f} · {box}"
    crop = card["crop_file"] and posixpath.relpath(card["crop_file"], folder or ".")
    links = [(text, file) for text, file in (("photograph", path), ("crop", crop)) if file]
    return Picture(jpeg=thumbnail, title=card["key"], note=note, mark=", ".join(marks), links=links)


SCORES = {
    "saliency": ("Part of what is unlike water, %", "How much of what is unlike water the animal has."),
    "": ("Part of the mask, %", "How much of the mask lies in the box."),
}


def _distributions(cards: pa.Table, method: str) -> Section:
    kept, found = cards.filter(pc.invert(cards["failed"])), cards.filter(pc.is_valid(cards["share"]))
    text = (
        "Presence tells photographs with an animal, from 0.5 up, from those without. Most boxes should have about the "
        "same share of their image; the outliers are worth a look. The third number is of the box alone, and tells "
        "nothing of an animal."
    )
    plots = [
        _histogram(kept["presence"].to_numpy(), "Presence, %", "Whether an animal is there."),
        _histogram(found["share"].to_numpy(), "Share of the image, %", "How large the boxes are."),
        _histogram(found["score"].to_numpy(), *SCORES.get(method, SCORES[""])),
    ]
    return Section("Presence and boxes", text, plots)


def _histogram(values: np.ndarray, label: str, caption: str) -> Plot:
    """Return a plot of how values from 0 to 1 are distributed."""
    alt = f"{caption} {many(len(values), 'image')}, median {np.median(values) if len(values) else 0:.0%}"
    return histogram((values * 100).round(9), x_label=label, y_label="Images", caption=caption, alt=alt)


def _failures(cards: pa.Table) -> list[Section]:
    failed = cards.filter(cards["failed"])
    if not len(failed):
        return []
    rows = [
        {"Image, and what was found": Term(card["key"], card["detail"]), "Reason": card["status"]}
        for card in failed.slice(0, MOST_FAILURES).to_pylist()
    ]
    more = f": the first {MOST_FAILURES}" if len(failed) > MOST_FAILURES else ""
    text = "What could not be decoded, and why. Every one is a row of rejects."
    return [Section("Failures", text, [Table(rows, f"Rejected images{more}", wide=True)])]
