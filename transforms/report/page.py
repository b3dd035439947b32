"""Build a self-contained HTML report of a run.

The page holds no script and fetches nothing: styles are inline and every picture is a data: URI, so it can be mailed,
archived or opened from a bucket years later. Its bytes depend only on what it is given: no clock, no random identifier.

Texts enter it at one place, which escapes them. The only module that imports jinja2.
"""

import base64
import dataclasses
import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import jinja2
from markupsafe import Markup

Unit = Literal["text", "count", "mean", "share"]

MISSING = "–"
PAGE_NAME = re.compile(r"(\.\./)?([a-z]+/)?[a-z]+(-\d+)?\.html")
CLIP = 1000  # characters of one text: a longer one is a broken row, not something to read


@dataclasses.dataclass(frozen=True)
class Term:
    """A cell with an explanation under it."""

    text: str
    note: str


Cell = str | int | float | Term | None


@dataclasses.dataclass(frozen=True)
class Column:
    """A table column.

    Attributes:
      title: heading.
      unit: how its cells are written: `text`, `count` (1,234), `mean` (12.3) or `share` (0.1234 as 12.34%).
      bar: whether each cell also shows a bar, as long as its part of the column's largest value.
    """

    title: str
    unit: Unit = "text"
    bar: bool = dataclasses.field(default=False, kw_only=True)


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows under columns, and a caption; without rows it says that there is no data. `wide` takes the page's width."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    caption: str
    wide: bool = False

    @classmethod
    def of(
        cls,
        rows: Sequence[Mapping[str, Cell]],
        caption: str,
        *,
        count: Sequence[str] = (),
        mean: Sequence[str] = (),
        share: Sequence[str] = (),
        bar: str = "",
        wide: bool = False,
    ) -> "Table":
        """Return the table of rows that map titles to cells; `count`, `mean`, `share` and `bar` name titles."""
        units: dict[str, Unit] = dict.fromkeys(count, "count")
        units |= {**dict.fromkeys(mean, "mean"), **dict.fromkeys(share, "share")}
        columns = [Column(title, units.get(title, "text"), bar=title == bar) for title in (rows[0] if rows else ())]
        return cls(columns, [tuple(row.values()) for row in rows], caption, wide)

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.caption!r}: row {number} has {len(row)} cells for {len(self.columns)} columns"
                )


@dataclasses.dataclass(frozen=True)
class Plot:
    """A picture as SVG text, its caption, and what it shows in words; without SVG it says that there is no data."""

    svg: str
    caption: str
    alt: str

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise ValueError(f"plot {self.caption!r} has no alt text: say in words what it shows")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A small photograph of a grid.

    Attributes:
      jpeg: its bytes; empty where there is none to show.
      title: what it is of; also its text where it cannot be seen.
      note: a line under the title.
      mark: a word in the corner, for what is unusual; or "".
    """

    jpeg: bytes
    title: str
    note: str
    mark: str = ""


@dataclasses.dataclass(frozen=True)
class Grid:
    """Photographs side by side, over the page's width; a browser decodes those that come into sight."""

    pictures: Sequence[Picture]
    caption: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class GalleryCard:
    """A picture of a gallery, and what it is found by.

    Attributes:
      values: text of every filter of the gallery, in their order.
      ranks: place under every order of the gallery; the first comes first.
    """

    picture: Picture
    values: Sequence[str]
    ranks: Sequence[int]


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Pictures that a reader sorts and filters, without a script: what is chosen, styles show and order.

    Attributes:
      cards: the pictures.
      filters: heading and values of every filter.
      orders: what the cards can be sorted by; the first holds until another is chosen.
    """

    cards: Sequence[GalleryCard]
    filters: Sequence[tuple[str, Sequence[str]]]
    orders: Sequence[str]
    caption: str

    def __post_init__(self) -> None:
        for card in self.cards:
            if len(card.values) != len(self.filters) or len(card.ranks) != len(self.orders):
                raise ValueError(f"gallery {self.caption!r}: a card must have a value for every filter and order")


@dataclasses.dataclass(frozen=True)
class Section:
    """A titled part of the page: a sentence on how to read it, then tables and plots side by side where they fit."""

    title: str
    text: str
    parts: Sequence[Table | Plot | Grid | Gallery] = ()


def format_cell(value: Cell, unit: Unit = "text") -> str:
    """Return a cell as a reader sees it.

    >>> format_cell(1234567, "count"), format_cell(0.12345, "share"), format_cell(0.00001, "share")
    ('1,234,567', '12.35%', '<0.01%')
    >>> format_cell(41.26, "mean"), format_cell(None, "mean"), format_cell("NUÑEZ")
    ('41.3', '–', 'NUÑEZ')
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return MISSING
    if isinstance(value, Term | str):
        return value.text if isinstance(value, Term) else value
    if unit == "share":
        return "<0.01%" if 0 < value < 0.00005 else f"{value:.2%}"
    if unit == "mean":
        return f"{value:,.1f}"
    return f"{value:,}"


def visible(text: str) -> str:
    r"""Return `text` with what a reader could not see, or what no file can hold, written as an escape.

    Control characters, marks that reverse the direction of what follows, and halves of a surrogate pair.

    >>> visible("NUÑEZ"), visible("a\x00b\u202ec\udce9")
    ('NUÑEZ', 'a\\x00b\\u202ec\\udce9')
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def data_uri(image: str | bytes) -> Markup:
    """Return an SVG or a JPEG as a data: URI; shown by <img>, nothing in it can run or fetch. It needs no escape."""
    kind, data = ("svg+xml", image.encode()) if isinstance(image, str) else ("jpeg", image)
    return Markup(f"data:image/{kind};base64,") + Markup(base64.b64encode(data).decode())


def page_link(name: str) -> Markup:
    """Return the address of another page of the same report; only a name of a few plain letters is one.

    >>> page_link("../report.html")
    Markup('../report.html')
    """
    if not PAGE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a page of a report")
    return Markup(name)


def write_rows(table: Table) -> list[list[dict[str, str]]]:
    """Return the cells of each row as the template needs them; `part` is the length of a bar from 0 to 1, or empty."""
    rows: list[list[dict[str, str]]] = [[] for _ in table.rows]
    for place, column in enumerate(table.columns):
        values = [row[place] for row in table.rows]
        numbers = [value for value in values if isinstance(value, int | float) and math.isfinite(value)]
        longest = max(numbers, default=0.0) if column.bar else 0.0
        for row, value in zip(rows, values, strict=True):
            part = ""
            if isinstance(value, int | float) and 0 <= value <= longest and longest > 0:
                part = f"{value / longest:.3f}"
            note = value.note if isinstance(value, Term) else ""
            row.append({"text": format_cell(value, column.unit), "note": note, "unit": column.unit, "part": part})
    return rows


@jinja2.pass_context
def _enter(context: jinja2.runtime.Context, value: object) -> object:
    """The one place where a text enters the page; jinja2 escapes what this returns unless it is Markup."""
    if isinstance(value, Markup):
        return value
    text = context["redact"](visible(str(value)))  # whole, lest half of what must be hidden survive the clipping
    return text if len(text) <= CLIP else text[:CLIP] + "…"


def _beside(name: str) -> str:
    """Return a file that lies beside this module."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        finalize=_enter,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(
        data_uri=data_uri, page_link=page_link, write_rows=write_rows, css=Markup(_beside("page.css"))
    )
    environment.tests["plot"] = lambda part: isinstance(part, Plot)
    environment.tests["grid"] = lambda part: isinstance(part, Grid)
    environment.tests["gallery"] = lambda part: isinstance(part, Gallery)
    return environment.from_string(_beside("page.html"))


def page(
    title: str,
    *,
    subtitle: Sequence[str] = (),
    summary: Sequence[tuple[str, str]] = (),
    sections: Sequence[Section] = (),
    warnings: Sequence[str] = (),
    links: Sequence[tuple[str, str]] = (),
    redact: Callable[[str], str] = str,
) -> str:
    """Return a whole HTML page; every text may be a stranger's.

    No script and no remote reference, by content and by policy; for a screen, a phone or paper.

    Args:
      title: of the document, and its first heading.
      subtitle: lines under it: what the page shows, and of what data.
      summary: (label, figure) pairs, shown large.
      sections: the page's parts, in order.
      warnings: shown before anything else.
      links: (text, name) of other pages of the same report; a name is relative to this page, "" is this page itself.
      redact: last word on every text before it is escaped; hides what must not be published.
    """
    return _template().render(
        title=title,
        subtitle=subtitle,
        summary=summary,
        sections=sections,
        warnings=warnings,
        links=links,
        redact=redact,
    )
