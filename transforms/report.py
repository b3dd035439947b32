"""Build a self-contained HTML report of a run.

The page holds no script and fetches nothing: styles are inline and every picture is a data: URI, so it can be mailed,
archived or opened from a bucket years later. Its bytes depend only on what it is given: no clock, no random identifier.

The only module that imports jinja2, matplotlib and Pillow; the last two only when the first picture is drawn.
"""

import base64
import dataclasses
import functools
import io
import math
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jinja2
import numpy as np
from markupsafe import Markup

Unit = Literal["text", "count", "mean", "share"]

MISSING = "–"
PAGE_NAME = re.compile(r"(\.\./)?([a-z]+/)?[a-z]+(-\d+)?\.html")
CLIP = 1000  # characters of one text: a longer one is a broken row, not something to read

# Okabe and Ito, told apart by colour-blind readers; every series also has its own dash, for black and white print.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1)), (0, (1, 2)))
MARKS = ("o", "s", "^", "D", "v", "P")
REST = "#a9b2bd"
INK = "#39424e"
GRID = "#e3e7ec"
PLOT_INCHES = (6.0, 3.4)
# Left, bottom, width, height of the axes; labels are short, and a layout solver takes longer than the drawing.
PLOT_BOX = (0.115, 0.155, 0.85, 0.735)
LEGEND_ROW = 0.06  # of the height, of a line of the legend

RASTER_BOX = (0.06, 0.05, 0.92, 0.9)  # of square pictures

# Drawn with the font that matplotlib ships, so that the layout is the same on every machine; shown with the reader's.
MEASURED_FONT = "font-family: 'DejaVu Sans'"
SHOWN_FONT = "font-family: system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#9aa4b1",
    "axes.facecolor": "none",  # the page's card shows through, light or dark
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 11,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "grid.color": GRID,
    "grid.linewidth": 0.9,
    "legend.borderaxespad": 0.0,
    "legend.borderpad": 0.0,
    "legend.columnspacing": 1.4,
    "legend.fontsize": 10.5,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "lines.linewidth": 2.2,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",  # text stays text: 30% fewer bytes than outlines
    "svg.hashsalt": "molino",  # else the identifiers inside the picture are random
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in a label is a dollar sign
    "xtick.color": INK,
    "xtick.major.size": 3.5,
    "xtick.minor.size": 0,
    "ytick.color": INK,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
}

# matplotlib's settings belong to the process and a pipeline runs in threads: one picture at a time.
_DRAWING = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Term:
    """A cell with an explanation under it."""

    text: str
    note: str


Cell = str | int | float | Term | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """A table column.

    Attributes:
      title: heading.
      unit: how its cells are written: `text`, `count` (1,234), `mean` (12.3) or `share` (0.1234 as 12.34%).
      bar: whether each cell also shows a bar, as long as its part of the column's largest value.
    """

    title: str
    unit: Unit = "text"
    bar: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows under columns, and a caption; without rows it says that there is no data. `wide` takes the page's width."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    caption: str
    wide: bool = False

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
class Card:
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

    cards: Sequence[Card]
    filters: Sequence[tuple[str, Sequence[str]]]
    orders: Sequence[str]
    caption: str

    def __post_init__(self) -> None:
        for card in self.cards:
            if len(card.values) != len(self.filters) or len(card.ranks) != len(self.orders):
                raise ValueError(f"gallery {self.caption!r}: a card must have a value for every filter and order")

    def rules(self, name: str) -> Markup:
        """Return the styles by which the choices of the gallery `name` show and order its cards."""
        rules = [
            f"#{name}:has(.f{number}>option:nth-child({place + 2}):checked) "
            f"figure:not(.f{number}v{place}){{display:none}}"
            for number, (_, values) in enumerate(self.filters)
            for place in range(len(values))
        ]
        rules += [
            f"#{name}:has(.order>option:nth-child({number + 1}):checked) figure{{order:var(--o{number})}}"
            for number in range(len(self.orders))
        ]
        return Markup("\n".join(rules))

    def classes(self, card: Card) -> str:
        """Return the classes of a card: the place of its value in every filter."""
        places = (values.index(value) for value, (_, values) in zip(card.values, self.filters, strict=True))
        return " ".join(f"f{number}v{place}" for number, place in enumerate(places))


@dataclasses.dataclass(frozen=True)
class Section:
    """A titled part of the page: a sentence on how to read it, then tables and plots side by side where they fit."""

    title: str
    text: str
    parts: Sequence[Table | Plot | Grid | Gallery] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """Points of one line of a plot."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


def format_cell(value: Cell, unit: Unit = "text") -> str:
    """Return a cell as a reader sees it.

    >>> format_cell(1234567, "count"), format_cell(0.12345, "share"), format_cell(0.00001, "share")
    ('1,234,567', '12.35%', '<0.01%')
    >>> format_cell(41.26, "mean"), format_cell(None, "mean"), format_cell("NUÑEZ")
    ('41.3', '–', 'NUÑEZ')
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return MISSING
    if isinstance(value, Term):
        return value.text
    if isinstance(value, str):
        return value
    if unit == "share":
        return "<0.01%" if 0 < value < 0.00005 else f"{value:.2%}"
    if unit == "mean":
        return f"{value:,.1f}"
    return f"{value:,}"


def compact(value: float) -> str:
    """Return a number short enough for an axis.

    >>> [compact(v) for v in (0, 0.5, 950, 1500, 20_000, 1_000_000, 2.5e9)]
    ['0', '0.5', '950', '1.5k', '20k', '1M', '2.5G']
    """
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:,.4g}{suffix}"
    return f"{value:.4g}"


def visible(text: str) -> str:
    r"""Return `text` with what a reader could not see, or what no file can hold, written as an escape.

    Control characters, marks that reverse the direction of what follows, and halves of a surrogate pair.

    >>> visible("NUÑEZ"), visible("a\x00b\u202ec\udce9")
    ('NUÑEZ', 'a\\x00b\\u202ec\\udce9')
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def plot(draw: Callable[[Any], None], *, caption: str, alt: str) -> Plot:
    """Return the picture that `draw(axes)` makes, in the style of every report; the same calls give the same bytes.

    `draw` runs with a process-wide lock held and must not call `plot` itself.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    out = io.StringIO()
    with _DRAWING, mpl.rc_context():
        mpl.rcdefaults()  # a matplotlibrc on the worker must not change the bytes
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=PLOT_INCHES)
        draw(figure.add_axes(PLOT_BOX))
        FigureCanvasSVG(figure).print_svg(out, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return Plot(out.getvalue().replace(MEASURED_FONT, SHOWN_FONT), caption, alt)


def raster(
    draw: Callable[[Any], None], *, inches: float, dots: int, background: np.ndarray | None = None, title: str = ""
) -> np.ndarray:
    """Return the square picture that `draw(axes)` makes, as (h, w, 3) uint8, in matplotlib's plainest style.

    Args:
      inches, dots: of a side, and dots in an inch.
      background: what another call returned, under it; then the axes are not drawn again.
      title: above the axes.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with _DRAWING, mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams["text.parse_math"] = False
        figure = Figure(figsize=(inches, inches), dpi=dots)
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes(RASTER_BOX)
        if background is not None:
            figure.figimage(background, zorder=-1)
            axes.axis("off")
        draw(axes)
        axes.set_title(visible(title))
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def jpeg(pixels: np.ndarray, *, side: int | None = None, quality: int = 80) -> bytes:
    """Return a picture, (h, w, 3) uint8 RGB, as JPEG; scaled to `side` by `side` if that is given."""
    from PIL import Image

    image = Image.fromarray(pixels)
    out = io.BytesIO()
    scaled = image.resize((side, side), Image.Resampling.BOX) if side else image
    scaled.save(out, "JPEG", quality=quality)
    return out.getvalue()


def line_plot(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    caption: str,
    alt: str,
    log: bool = False,
    years: bool = False,
) -> Plot:
    """Return a plot of lines, on two logarithmic axes if `log`; an empty series is left out.

    `years` writes the horizontal axis as years, 1985 and not 2k.
    """
    kept = [one for one in series if len(one.x)]
    if not kept:
        return Plot("", caption, alt)

    def draw(axes: Any) -> None:
        for number, one in enumerate(kept):
            look = {"color": COLORS[number % len(COLORS)], "linestyle": DASHES[number % len(DASHES)]}
            # A line of a single point is nothing at all without a marker.
            axes.plot(one.x, one.y, label=visible(one.label), marker="o" if len(one.x) == 1 else None, **look)
        if log:
            axes.set_xscale("log")
            axes.set_yscale("log")
            _number_axis(axes.xaxis, log=True)
        else:
            axes.set_ylim(bottom=0)
            axes.margins(x=0.02)
            low, high = axes.dataLim.intervalx
            if low == high:
                axes.set_xlim(low - 2, high + 2)
            _number_axis(axes.xaxis, whole=_all_whole(one.x for one in kept), write=_year if years else compact)
        _label(axes, x_label, y_label, legend=len(kept) > 1, whole=_all_whole(one.y for one in kept), log=log)

    return plot(draw, caption=caption, alt=alt)


def bar_plot(
    groups: Sequence[str],
    heights: Mapping[str, Sequence[float]],
    *,
    x_label: str,
    y_label: str,
    caption: str,
    alt: str,
) -> Plot:
    """Return a plot of bars side by side: a cluster for each of `groups`, in it a bar for each series of `heights`."""
    if not groups or not heights:
        return Plot("", caption, alt)

    def draw(axes: Any) -> None:
        width = 0.84 / len(heights)
        for number, (label, values) in enumerate(heights.items()):
            left = [group - 0.42 + number * width for group in range(len(groups))]
            axes.bar(left, values, width, align="edge", label=visible(label), color=COLORS[number % len(COLORS)])
        step = math.ceil(len(groups) / 11)  # more labels than this touch each other
        axes.set_xticks(range(0, len(groups), step), [visible(name) for name in groups[::step]])
        spare = max(0, 6 - len(groups)) / 2  # a lone bar need not fill the picture
        axes.set_xlim(-0.6 - spare, len(groups) - 0.4 + spare)
        axes.grid(visible=False, axis="x")
        _label(axes, x_label, y_label, legend=len(heights) > 1, whole=_all_whole(heights.values()))

    return plot(draw, caption=caption, alt=alt)


def scatter_plot(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    caption: str,
    alt: str,
) -> Plot:
    """Return a plot of points; the last series is drawn below the others, in gray, and an empty one is left out."""
    kept = [one for one in series if len(one.x)]
    if not kept:
        return Plot("", caption, alt)

    def draw(axes: Any) -> None:
        for number, one in enumerate(series):
            if not len(one.x):
                continue
            rest = number == len(series) - 1
            color = REST if rest else COLORS[number % len(COLORS)]
            # every series has its own shape too, for black and white print
            look = {"color": color, "marker": "." if rest else MARKS[number % len(MARKS)], "zorder": 1 if rest else 2}
            axes.scatter(one.x, one.y, s=9 if rest else 16, linewidths=0, alpha=0.75, label=visible(one.label), **look)
        axes.margins(0.03)
        axes.set_xlabel(visible(x_label))
        axes.set_ylabel(visible(y_label))
        for axis in (axes.xaxis, axes.yaxis):
            _number_axis(axis)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=3, handletextpad=0.2, fontsize=9)

    return plot(draw, caption=caption, alt=alt)


def _label(axes: Any, x_label: str, y_label: str, *, legend: bool, whole: bool, log: bool = False) -> None:
    axes.set_xlabel(visible(x_label))
    axes.set_ylabel(visible(y_label))
    _number_axis(axes.yaxis, whole=whole, log=log)
    if legend:
        _add_legend(axes)


def _add_legend(axes: Any) -> None:
    """Put the legend above the axes, in as many columns as there is room for, and make room for its rows."""
    handles, labels = axes.get_legend_handles_labels()
    # 0.9 characters of a name, the line and the space beside it, of some 80 characters in all
    columns = max(1, min(len(labels), 4, 80 // (max(map(len, labels)) + 8)))
    rows = -(-len(labels) // columns)
    left, bottom, width, height = PLOT_BOX
    axes.set_position((left, bottom, width, height - LEGEND_ROW * (rows - 1)))
    axes.legend(handles, labels, loc="lower left", bbox_to_anchor=(0, 1.04), ncols=columns)


def _year(value: float) -> str:
    return f"{value:.0f}"


def _all_whole(lists: Iterable[Sequence[float]]) -> bool:
    return all(float(value).is_integer() for values in lists for value in values)


def _number_axis(axis: Any, *, whole: bool = False, log: bool = False, write: Callable[[float], str] = compact) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    if not log:
        axis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=whole))
    else:
        low, high = axis.get_view_interval()
        # Powers of ten alone would leave a short axis with one number, or with none.
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 30 * low else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    axis.set_minor_locator(NullLocator())


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


class Shown(NamedTuple):
    """A cell as the template needs it; `part` is the length of its bar from 0 to 1, or empty for none."""

    text: str
    note: str
    unit: Unit
    part: str


def shown_rows(table: Table) -> list[list[Shown]]:
    """Return the rows of a table, every cell written out."""
    longest = [_longest(table, index) if column.bar else 0.0 for index, column in enumerate(table.columns)]
    return [
        [_shown(value, column, most) for value, column, most in zip(row, table.columns, longest, strict=True)]
        for row in table.rows
    ]


def _shown(value: Cell, column: Column, longest: float) -> Shown:
    note = value.note if isinstance(value, Term) else ""
    return Shown(format_cell(value, column.unit), note, column.unit, _bar_part(value, longest))


def _longest(table: Table, index: int) -> float:
    numbers = (row[index] for row in table.rows)
    return max((n for n in numbers if isinstance(n, int | float) and math.isfinite(n)), default=0.0)


def _bar_part(value: Cell, longest: float) -> str:
    if longest <= 0 or not isinstance(value, int | float) or not 0 <= value <= longest:
        return ""
    return f"{value / longest:.3f}"


@jinja2.pass_context
def _enter(context: jinja2.runtime.Context, value: object) -> object:
    """The one place where a text enters the page; jinja2 escapes what this returns unless it is Markup."""
    if isinstance(value, Markup):
        return value
    text = context["redact"](visible(str(value)))  # whole, lest half of what must be hidden survive the clipping
    return text if len(text) <= CLIP else text[:CLIP] + "…"


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
    environment.globals.update(data_uri=data_uri, page_link=page_link, shown_rows=shown_rows, css=Markup(CSS))
    environment.tests["plot"] = lambda part: isinstance(part, Plot)
    environment.tests["grid"] = lambda part: isinstance(part, Grid)
    environment.tests["gallery"] = lambda part: isinstance(part, Gallery)
    return environment.from_string(HTML)


def page(
    title: str,
    *,
    subtitle: str = "",
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
      subtitle: one line under it.
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


CSS = """
:root{color-scheme:light dark;--page:#f4f6f8;--card:#fff;--ink:#1b2430;--soft:#5a6675;--line:#e1e6ec;--accent:#0072b2;
--bar:#cfe3f2;--stripe:#f8fafb;--warn:#fff6e0;--warn-line:#e69f00;--shadow:0 1px 2px rgba(20,30,45,.06)}
@media (prefers-color-scheme:dark){:root{--page:#11151a;--card:#1a2028;--ink:#e5eaf0;--soft:#9ba7b6;--line:#2b3440;
--accent:#6cb8ea;--bar:#1f4560;--stripe:#1e252e;--warn:#32290f;--warn-line:#e69f00;--shadow:none}
figure.plot img{filter:invert(.9) hue-rotate(180deg)}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);line-height:1.5;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"DejaVu Sans",sans-serif;font-size:16px}
main,header,footer{max-width:72rem;margin:0 auto;padding:0 1.5rem}
header{padding-top:2.5rem}
h1{font-size:clamp(1.6rem,1.2rem + 1.6vw,2.3rem);line-height:1.15;letter-spacing:-.02em;margin:0 0 .35rem}
h2{font-size:1.3rem;line-height:1.25;letter-spacing:-.01em;margin:0 0 .3rem}
p{margin:0 0 1rem;max-width:48rem}
.soft,section>p,footer{color:var(--soft)}
h1,h2,p,dd,li,figcaption,caption{overflow-wrap:anywhere}
td{overflow-wrap:break-word;max-width:26rem}
nav{display:flex;flex-wrap:wrap;gap:.35rem 1.1rem;margin:1rem 0 0;font-size:.92rem}
a{color:var(--accent);text-decoration:none}
a:hover,a:focus-visible{text-decoration:underline}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(11rem,47%),1fr));gap:.75rem;margin:1.5rem 0 0}
dl>div,figure,.table{background:var(--card);border:1px solid var(--line);border-radius:.7rem;box-shadow:var(--shadow)}
dl>div{padding:.8rem 1rem .7rem;display:flex;flex-direction:column-reverse;justify-content:flex-end}
dt{color:var(--soft);font-size:.85rem;line-height:1.3}
dd{margin:0;white-space:nowrap;font-size:1.55rem;font-weight:650;line-height:1.25;letter-spacing:-.02em;
font-variant-numeric:tabular-nums}
aside{background:var(--warn);border:1px solid var(--warn-line);border-left-width:.35rem;border-radius:.7rem;
padding:.8rem 1.1rem;margin:1.5rem 0 0}
aside h2{font-size:1rem}
aside ul{margin:0;padding-left:1.2rem}
section{margin:2.75rem 0 0;scroll-margin-top:1rem}
.parts{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:1.1rem;align-items:start}
.wide,.parts>:only-child{grid-column:1/-1}
figure{margin:0;overflow:hidden}
figure.plot img{display:block;width:100%;height:auto;padding:.9rem .9rem .5rem}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(13rem,47%),1fr));gap:.8rem}
.grid>p{grid-column:1/-1;margin:0;font-weight:600}
.grid figure{position:relative;display:flex;flex-direction:column}
.grid img,.grid .none{display:block;width:100%;aspect-ratio:3/2;object-fit:contain;background:#0c1116}
.grid .none{display:grid;place-items:center;color:#9ba7b6}
.grid figcaption{padding:.4rem .7rem .5rem;border:0;font-size:.82rem;line-height:1.35}
.grid b{display:block;color:var(--ink);font-weight:600;overflow-wrap:anywhere}
.square img,.square .none{aspect-ratio:1}
.choices{grid-column:1/-1;display:flex;flex-wrap:wrap;gap:.4rem 1rem;font-size:.88rem;color:var(--soft)}
.choices label{display:inline-flex;gap:.4rem;align-items:center}
select{font:inherit;color:var(--ink);background:var(--card);border:1px solid var(--line);border-radius:.4rem;
padding:.15rem .3rem}
.grid i{position:absolute;top:.4rem;left:.4rem;padding:.05rem .5rem;border-radius:1rem;background:var(--warn);
color:var(--ink);border:1px solid var(--warn-line);font-style:normal;font-size:.75rem}
.pages a,.pages b{padding:.1rem .55rem;border:1px solid var(--line);border-radius:.4rem;background:var(--card)}
.parts>figure:only-child{max-width:46rem}
figcaption,caption{font-size:.92rem;color:var(--soft);text-align:left}
figcaption{padding:.55rem 1rem .75rem;border-top:1px solid var(--line)}
.table{overflow-x:auto}
.table:focus-visible{outline:2px solid var(--accent)}
table{border-collapse:collapse;width:100%;font-size:.92rem}
caption{padding:.7rem 1rem .55rem;color:var(--ink);font-weight:600}
th,td{padding:.34rem .7rem;text-align:right;vertical-align:top;font-variant-numeric:tabular-nums}
th:first-child,td:first-child{padding-left:1rem}
th:last-child,td:last-child{padding-right:1rem}
th{color:var(--soft);font-weight:600;font-size:.82rem;line-height:1.3;vertical-align:bottom;
border-bottom:1px solid var(--line)}
td:not(.text){white-space:nowrap}
td small{display:block;color:var(--soft);font-size:.82rem;line-height:1.35;padding-bottom:.1rem}
.text{text-align:left}
tbody tr:nth-child(even){background:var(--stripe)}
td.bar{background:linear-gradient(var(--bar),var(--bar)) no-repeat .35rem .52rem/calc((100% - 5.2rem)*var(--part)) 1rem;
min-width:9rem}
.count:first-child{width:1%;color:var(--soft)}
.none{padding:1.4rem 1rem;color:var(--soft);text-align:center}
footer{padding-top:2.75rem;padding-bottom:2.5rem;font-size:.85rem}
@media (max-width:52rem){.parts{grid-template-columns:minmax(0,1fr)}}
@media (max-width:32rem){main,header,footer{padding-left:.9rem;padding-right:.9rem}header{padding-top:1.5rem}
dl{gap:.6rem}dl>div{padding:.65rem .8rem .6rem}dd{font-size:1.25rem}section{margin-top:2.2rem}
figure.plot img{padding:.5rem .4rem .3rem}th,td{padding:.32rem .45rem}th:first-child,td:first-child{padding-left:.7rem}
th:last-child,td:last-child{padding-right:.7rem}td{max-width:13rem}
td.bar{min-width:4.4rem;background-size:calc((100% - .7rem)*var(--part)) 1rem}
caption{padding-left:.7rem}figcaption{padding:.5rem .7rem .65rem}}
@media print{:root{color-scheme:light;--page:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#ccc;--accent:#000;
--bar:#ddd;--stripe:#fff;--warn:#fff;--shadow:none}
body{font-size:10pt}nav,.choices{display:none}main,header,footer{max-width:none;padding-left:0;padding-right:0}
figure.plot img{filter:none}td.bar{print-color-adjust:exact}.table{overflow:visible}
figure,dl>div,tr,aside{break-inside:avoid}h2,section>p{break-after:avoid}}
"""

HTML = """\
{% macro table(part) %}
<div class="table{{ ' wide' if part.wide else '' }}" role="region" tabindex="0" aria-label="{{ part.caption }}">
<table>
<caption>{{ part.caption }}</caption>
{% if part.rows %}
<thead><tr>{% for column in part.columns %}<th scope="col" class="{{ column.unit }}">{{ column.title }}</th>\
{% endfor %}</tr></thead>
<tbody>
{% for row in shown_rows(part) %}
<tr>{% for cell in row %}\
<td class="{{ cell.unit }}{% if cell.part %} bar" style="--part:{{ cell.part }}{% endif %}">\
{{ cell.text }}{% if cell.note %}<small>{{ cell.note }}</small>{% endif %}</td>\
{% endfor %}</tr>
{% endfor %}
</tbody>
{% else %}
<tbody><tr><td class="none text">No data</td></tr></tbody>
{% endif %}
</table>
</div>
{% endmacro %}
{% macro content(picture) %}
{% if picture.jpeg %}
<img src="{{ data_uri(picture.jpeg) }}" alt="{{ picture.title }}" loading="lazy" decoding="async">
{% else %}
<div class="none">No picture</div>
{% endif %}
{% if picture.mark %}
<i>{{ picture.mark }}</i>
{% endif %}
<figcaption><b>{{ picture.title }}</b>{{ picture.note }}</figcaption>
{% endmacro %}
{% macro grid(part) %}
<div class="grid wide">
{% if part.caption %}
<p>{{ part.caption }}</p>
{% endif %}
{% for picture in part.pictures %}
<figure>
{{ content(picture) }}
</figure>
{% else %}
<div class="none">No data</div>
{% endfor %}
</div>
{% endmacro %}
{% macro gallery(part, name) %}
<style>
{{ part.rules(name) }}
</style>
<div class="grid square wide" id="{{ name }}">
<p>{{ part.caption }}</p>
<div class="choices">
<label>Sort by <select class="order" autocomplete="off">\
{% for order in part.orders %}<option>{{ order }}</option>{% endfor %}</select></label>
{% for title, values in part.filters %}
<label>{{ title }} <select class="f{{ loop.index0 }}" autocomplete="off"><option>all</option>\
{% for value in values %}<option>{{ value }}</option>{% endfor %}</select></label>
{% endfor %}
</div>
{% for card in part.cards %}
<figure class="{{ part.classes(card) }}" \
style="{% for rank in card.ranks %}--o{{ loop.index0 }}:{{ rank }};{% endfor %}">
{{ content(card.picture) }}
</figure>
{% else %}
<div class="none">No data</div>
{% endfor %}
</div>
{% endmacro %}
{% macro pages() %}
{% if links %}
<nav class="pages" aria-label="Pages">
{% for text, name in links %}
{% if name %}<a href="{{ page_link(name) }}">{{ text }}</a>{% else %}<b>{{ text }}</b>{% endif %}

{% endfor %}
</nav>
{% endif %}
{% endmacro %}
{% macro plot(part) %}
<figure class="plot">
{% if part.svg %}
<img src="{{ data_uri(part.svg) }}" alt="{{ part.alt }}" width="576" height="326">
{% else %}
<div class="none">No data</div>
{% endif %}
<figcaption>{{ part.caption }}</figcaption>
</figure>
{% endmacro %}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{{ title }}</title>
<style>{{ css }}</style>
</head>
<body>
<header>
<h1>{{ title }}</h1>
{% if subtitle %}
<p class="soft">{{ subtitle }}</p>
{% endif %}
{% if sections|length > 2 %}
<nav aria-label="Sections">{% for section in sections %}<a href="#s{{ loop.index }}">{{ section.title }}</a>\
{% endfor %}</nav>
{% endif %}
{{ pages() }}
</header>
<main>
{% if warnings %}
<aside aria-label="Warnings">
<h2>{{ "Warning" if warnings|length == 1 else "Warnings" }}</h2>
<ul>
{% for warning in warnings %}
<li>{{ warning }}</li>
{% endfor %}
</ul>
</aside>
{% endif %}
{% if summary %}
<dl>
{% for label, figure in summary %}
<div><dt>{{ label }}</dt><dd>{{ figure }}</dd></div>
{% endfor %}
</dl>
{% endif %}
{% for section in sections %}
{% set number = loop.index %}
<section id="s{{ loop.index }}" aria-labelledby="h{{ loop.index }}">
<h2 id="h{{ loop.index }}">{{ section.title }}</h2>
<p>{{ section.text }}</p>
{% if section.parts %}
<div class="parts">
{% for part in section.parts %}
{% if part is gallery %}
{{ gallery(part, "g%d-%d"|format(number, loop.index)) }}
{% else %}
{{ plot(part) if part is plot else grid(part) if part is grid else table(part) }}
{% endif %}
{% endfor %}
</div>
{% endif %}
</section>
{% endfor %}
{{ pages() }}
</main>
<footer>Written by Molino. This page holds no script and loads nothing.</footer>
</body>
</html>
"""
