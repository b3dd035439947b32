"""Build a self-contained HTML report of a run.

The page holds no script and fetches nothing: styles are inline and every picture is a data: URI, so it can be mailed,
archived or opened from a bucket years later. Its bytes depend only on what it is given: no clock, no random identifier.

Texts enter it at one place, which escapes them. The only module that imports jinja2.
"""

import base64
import dataclasses
import functools
import math
import os
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

MISSING = "–"
SHARE = ".2%"
CLIP = 1000  # characters of one text: a longer one is a broken row, not something to read


@dataclasses.dataclass(frozen=True)
class Term:
    """A cell with an explanation under it."""

    text: str
    note: str


Cell = str | int | float | Term | None


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows that map headings to cells, and a caption; without rows it says that there is no data."""

    rows: Sequence[Mapping[str, Cell]]  # all with the same headings, in one order
    caption: str
    floats: str = ",.1f"  # how numbers that are not whole are written, as a format specification
    shares: Sequence[str] = ()  # headings of parts of a whole: 0.1234 is written as 12.34%
    bar: str = ""  # heading whose cells also show a bar, as long as their part of the column's largest value; or ""
    wide: bool = False  # whether it takes the page's width


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
    """A small photograph of a gallery."""

    jpeg: bytes  # its bytes; empty where there is none to show
    title: str  # what it is of; also its text where it cannot be seen
    note: str  # a line under the title
    mark: str = ""  # a word in the corner, for what is unusual; or ""
    links: Sequence[tuple[str, str]] = ()  # texts and paths of files; the picture leads to the first


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Pictures side by side, over the page's width; a browser decodes those that come into sight.

    A reader sorts and filters them without a script, where there is anything to choose: styles show and order them.
    """

    pictures: Sequence[Picture]
    caption: str
    filters: Sequence[tuple[str, Sequence[str], Sequence[int]]] = ()  # heading, choices, that of every picture
    # what the pictures can be sorted by, and the place of each; the first holds until another is chosen
    orders: Mapping[str, Sequence[int]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Section:
    """A titled part of the page: a sentence on how to read it, then tables and plots side by side where they fit."""

    title: str
    text: str
    parts: Sequence[Table | Plot | Gallery] = ()


def format_number(value: float | None, floats: str = ",.1f") -> str:
    """Return a number as a reader sees it.

    >>> format_number(1234567), format_number(41.26), format_number(None)
    ('1,234,567', '41.3', '–')
    >>> format_number(0.12345, SHARE), format_number(0.00001, SHARE), format_number(1, SHARE)
    ('12.35%', '<0.01%', '100.00%')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if floats == SHARE and 0 < value < 0.00005:
        return "<0.01%"
    return f"{value:,}" if isinstance(value, int) and floats != SHARE else f"{value:{floats}}"


def visible(text: str) -> str:
    r"""Return `text` with what a reader could not see, or what no file can hold, written as an escape.

    Control characters, marks that reverse the direction of what follows, and halves of a surrogate pair.

    >>> visible("NUÑEZ"), visible("a\x00b\u202ec\udce9")
    ('NUÑEZ', 'a\\x00b\\u202ec\\udce9')
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def clip(text: str, length: int) -> str:
    """Return a text, cut to some characters where it has more."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def data_uri(image: str | bytes) -> Markup:
    """Return an SVG or a JPEG as a data: URI; shown by <img>, nothing in it can run or fetch. It needs no escape."""
    kind, data = ("svg+xml", image.encode()) if isinstance(image, str) else ("jpeg", image)
    return Markup(f"data:image/{kind};base64,") + Markup(base64.b64encode(data).decode())


def path_link(path: str) -> Markup:
    """Return the address of any file from its path, which is absolute or relative to the page."""
    return Markup("file://" * os.path.isabs(path) + urllib.parse.quote(os.fsencode(path)))


def write_columns(table: Table) -> dict[str, list[dict[str, str]]]:
    """Return each column's cells by heading: `kind` is text or number, `part` the length of a bar from 0 to 1."""
    columns = {}
    for heading in table.rows[0] if table.rows else ():
        values = [row[heading] for row in table.rows]
        numbers = [value for value in values if isinstance(value, int | float)]
        longest = max(filter(math.isfinite, numbers), default=0.0) if heading == table.bar else 0.0
        kind = "text" if any(isinstance(value, str | Term) for value in values) and not numbers else "number"
        cells = [{"text": "", "note": "", "part": "", "kind": kind} for _ in values]
        for cell, value in zip(cells, values, strict=True):
            if isinstance(value, str | Term):
                cell["text"], cell["note"] = (value, "") if isinstance(value, str) else (value.text, value.note)
                continue
            cell["text"] = format_number(value, SHARE if heading in table.shares else table.floats)
            if value is not None and 0 <= value <= longest and longest > 0:
                cell["part"] = f"{value / longest:.3f}"
        columns[heading] = cells
    return columns


@jinja2.pass_context
def _enter(context: jinja2.runtime.Context, value: object) -> object:
    """The one place where a text enters the page; jinja2 escapes what this returns unless it is Markup."""
    if isinstance(value, Markup):
        return value
    text = context["redact"](visible(str(value)))  # whole, lest half of what must be hidden survive the clipping
    return text if len(text) <= CLIP else text[:CLIP] + "…"


@functools.cache
def _template() -> jinja2.Template:
    style, text = (Path(__file__).with_name(f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "html"))
    environment = jinja2.Environment(
        autoescape=True,
        finalize=_enter,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(
        data_uri=data_uri, path_link=path_link, write_columns=write_columns, zip=zip, css=Markup(style)
    )
    environment.tests["plot"] = lambda part: isinstance(part, Plot)
    environment.tests["gallery"] = lambda part: isinstance(part, Gallery)
    return environment.from_string(text)


def page(
    title: str,  # of the document, and its first heading
    *,
    subtitle: Sequence[str] = (),  # lines under it: what the page shows, and of what data
    summary: Sequence[tuple[str, str]] = (),  # (label, figure) pairs, shown large
    sections: Sequence[Section] = (),  # the page's parts, in order
    warnings: Sequence[str] = (),  # shown before anything else
    links: Sequence[tuple[str, str]] = (),
    redact: Callable[[str], str] = str,
) -> str:
    """Return a whole HTML page; every text may be a stranger's.

    No script and no remote reference, by content and by policy; for a screen, a phone or paper. `links`: (text, name)
    of other pages and files of the same output; a name is relative to this page, "" is this page itself. `redact`: last
    word on every text before it is escaped; hides what must not be published.
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
