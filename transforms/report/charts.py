"""The pictures of reports: plots as SVG and rasters, whose bytes depend only on what they are given.

The only module that imports matplotlib and Pillow, when the first picture is drawn.
"""

import contextlib
import dataclasses
import io
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from molino.transforms.report.page import Plot, visible

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
CURVE_POINTS = 150  # of a rank-frequency curve; a hundred thousand look the same and weigh megabytes
BINS = 15  # about as many as a histogram has
SPREAD = 100  # largest by smallest value, from which on the bins of a histogram grow with the values
RASTER_BOX = (0.06, 0.05, 0.92, 0.9)  # of square pictures
# Drawn with the font that matplotlib ships, so that the layout is the same on every machine; shown with the reader's.
MEASURED_FONT = "font-family: 'DejaVu Sans'"
SHOWN_FONT = "font-family: system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#9aa4b1",
    "axes.facecolor": "none",  # the page's card shows through, light or dark
    "axes.grid": True,
    "axes.labelsize": 11,
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
    "text.parse_math": False,  # a dollar sign in a label is a dollar sign
    "xtick.major.size": 3.5,
    **dict.fromkeys(("axes.spines.left", "axes.spines.right", "axes.spines.top"), False),
    **dict.fromkeys(("axes.labelcolor", "text.color", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("xtick.minor.size", "ytick.major.size", "ytick.minor.size"), 0),
}
# matplotlib's settings belong to the process and a pipeline runs in threads: one picture at a time.
_DRAWING = threading.Lock()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """Points of one line of a plot."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


def compact(value: float) -> str:
    """Return a number short enough for an axis.

    >>> [compact(v) for v in (0, 0.5, 950, 1500, 20_000, 1_000_000, 2.5e9)]
    ['0', '0.5', '950', '1.5k', '20k', '1M', '2.5G']
    """
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:,.4g}{suffix}"
    return f"{value:.4g}"


@contextlib.contextmanager
def _figure(style: Mapping[str, Any], inches: tuple[float, float], dots: int | None = None) -> Iterator[Any]:
    """Give a figure while matplotlib's settings are its defaults and a style: no matplotlibrc changes its bytes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with _DRAWING, mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(style)
        yield Figure(figsize=inches, dpi=dots)


def plot(draw: Callable[[Any], None] | None, *, caption: str, alt: str) -> Plot:
    """Return the picture that `draw(axes)` makes, in the style of every report; the same calls give the same bytes.

    `draw` runs with a process-wide lock held and must not call `plot` itself; it is None where there is no data.
    """
    if draw is None:
        return Plot("", caption, alt)
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = io.StringIO()
    with _figure(STYLE, PLOT_INCHES) as figure:
        draw(figure.add_axes(PLOT_BOX))
        FigureCanvasSVG(figure).print_svg(out, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return Plot(out.getvalue().replace(MEASURED_FONT, SHOWN_FONT), caption, alt)


def raster(
    draw: Callable[[Any], None], *, inches: float, dots: int, background: np.ndarray | None = None, title: str = ""
) -> np.ndarray:
    """Return the square picture that `draw(axes)` makes, as (h, w, 3) uint8, in matplotlib's plainest style.

    `inches`, `dots`: of a side, and dots in an inch. `background`: what another call returned, under it; then the axes
    are not drawn again. `title`: above the axes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with _figure({"text.parse_math": False}, (inches, inches), dots) as figure:
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

    image, out = Image.fromarray(pixels), io.BytesIO()
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
    """Return a plot of lines but for empty ones; `log`: both axes are logarithmic; `years`: it writes 1985, not 2k."""
    kept = [one for one in series if len(one.x)]

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
            write = "{:.0f}".format if years else compact
            _number_axis(axes.xaxis, whole=_all_whole(one.x for one in kept), write=write)
        _label(axes, x_label, y_label, legend=len(kept) > 1, whole=_all_whole(one.y for one in kept), log=log)

    return plot(draw if kept else None, caption=caption, alt=alt)


def bar_plot(
    groups: Sequence[str], heights: Mapping[str, Sequence[float]], *, x_label: str, y_label: str, caption: str, alt: str
) -> Plot:
    """Return a plot of bars side by side: a cluster for each of `groups`, in it a bar for each series of `heights`."""

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

    return plot(draw if groups and heights else None, caption=caption, alt=alt)


def rank_series(label: str, values: np.ndarray) -> Series:
    """Return values above 0 from the largest down by rank, thinned to points even on a logarithmic axis."""
    kept = np.sort(values[values > 0])[::-1]
    ranks = np.arange(1, len(kept) + 1)
    if len(kept) > CURVE_POINTS:
        ranks = np.unique(np.geomspace(1, len(kept), CURVE_POINTS).round().astype(np.int64))
    return Series(label=label, x=ranks.tolist(), y=kept[ranks - 1].tolist())


def histogram(
    values: np.ndarray, counts: np.ndarray | None = None, *, x_label: str, y_label: str, caption: str, alt: str
) -> Plot:
    """Return a plot of how many finite values, each there once or `counts` times, lie in the bins of `bin_edges`."""
    weights = np.ones(len(values), np.int64) if counts is None else counts
    kept = np.isfinite(values) & (weights > 0)
    values, weights = values[kept], weights[kept]
    if not len(values):
        return Plot("", caption, alt)
    edges = bin_edges(values, weights)
    heights, _ = np.histogram(values.clip(edges[0], edges[-1]), edges, weights=weights)
    names = [compact(edge) for edge in edges.tolist()]
    names = names if len(set(names)) == len(names) else [f"{edge:.12g}" for edge in edges.tolist()]
    if values.min() < edges[0]:
        caption += f" The first bar has all below {names[1]}."
    if values.max() > edges[-1]:
        caption += f" The last bar has all from {names[-2]} up."
    return bar_plot(
        names[:-1], {y_label: heights.tolist()}, x_label=f"{x_label}, from", y_label=y_label, caption=caption, alt=alt
    )


def bin_edges(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the edges of bins that fit finite values, whatever their order: round numbers, some fifteen bins or fewer.

    Between the first and the last lie all values, or, where these span more than twice as much, all but the lowest and
    the highest hundredth. Bins are of one width, or, where the values span decades, 1, 2, 5, 10 ...

    >>> bin_edges(np.array([0.011, 0.03, 0.14]), np.array([1, 1, 1])).tolist()[:4]
    [0.01, 0.02, 0.03, 0.04]
    >>> bin_edges(np.array([1, 40, 3000]), np.array([5, 5, 5])).tolist()
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0]
    """
    from matplotlib.ticker import MaxNLocator

    low, high = np.quantile(values, [0.01, 0.99], weights=counts, method="inverted_cdf").tolist()
    if low > 0 and high / low >= SPREAD:
        powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 2)
        digits = (1, 2, 5) if 3 * len(powers) < 2 * BINS else (1,)
        all_edges = np.array([digit * 10.0**power for power in powers for digit in digits])
        begin, end = np.searchsorted(all_edges, [low, high], side="right")
        edges = all_edges[begin - 1 : end + 1]
    else:
        bins, span = BINS, float(np.ptp(values))
        if 0 < span <= 2 * (high - low):
            bins = math.ceil(BINS * span / (high - low))  # as wide as without the outermost
            low, high = values.min(), values.max()
        high = high if high > low else low + (abs(low) or 1.0)  # of a single value
        whole = bool((values == np.floor(values)).all())
        edges = np.asarray(MaxNLocator(bins, steps=[1, 2, 5, 10], integer=whole).tick_values(low, high))
    return np.array([float(f"{edge:.12g}") for edge in edges])  # not 0.30000000000000004, of a sum


def scatter_plot(series: Sequence[Series], *, x_label: str, y_label: str, caption: str, alt: str) -> Plot:
    """Return a plot of points; the last series is drawn below the others, in gray, and an empty one is left out."""

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
        _number_axis(axes.xaxis)
        _label(axes, x_label, y_label, legend=False, whole=False)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=3, handletextpad=0.2, fontsize=9)

    return plot(draw if any(len(one.x) for one in series) else None, caption=caption, alt=alt)


def _label(axes: Any, x_label: str, y_label: str, *, legend: bool, whole: bool, log: bool = False) -> None:
    axes.set_xlabel(visible(x_label))
    axes.set_ylabel(visible(y_label))
    _number_axis(axes.yaxis, whole=whole, log=log)
    if not legend:
        return
    # above the axes, in as many columns as there is room for; its rows get room too
    handles, labels = axes.get_legend_handles_labels()
    # 0.9 characters of a name, the line and the space beside it, of some 80 characters in all
    columns = max(1, min(len(labels), 4, 80 // (max(map(len, labels)) + 8)))
    rows = -(-len(labels) // columns)
    left, bottom, width, height = PLOT_BOX
    axes.set_position((left, bottom, width, height - LEGEND_ROW * (rows - 1)))
    axes.legend(handles, labels, loc="lower left", bbox_to_anchor=(0, 1.04), ncols=columns)


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
