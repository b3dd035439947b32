"""How often each method's box holds the whale's head: python benchmarks/whales_heads.py.

The truth is rectangles drawn by people around heads in real photographs, which lie beside the checkout, in
../shared/data/whales. None of them goes into the project: only the figures do.
"""

import argparse
import dataclasses
import itertools
import json
import math
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, Python looks only in this file's folder

from benchmarks import harness  # noqa: E402
from molino.transforms.images.decode import decode_image, read_header  # noqa: E402
from molino.transforms.whales.find_region import OriginalOptions, find_region_original, reduction  # noqa: E402
from molino.transforms.whales.find_salient_region import (  # noqa: E402
    SalientOptions,
    choose_scale,
    find_body,
    find_salient_region,
    measure_saliency,
    place_box,
    shrink,
)

PHOTOGRAPHS = ROOT.parent / "shared/data/whales"
PAGE = ROOT / "docs/whales-saliency.md"
PICTURE = ROOT / "docs/images/whales-heads.png"
SHARES = (0.08, 0.10, 0.125, 0.15, 0.17, 0.20, 0.23, 0.25, 0.28, 0.30)
GROWN = (0.0, 0.1, 0.2, 0.3)
# what cross-validation chooses from
BODIES = {"threshold": (2.5, 3.0, 4.0), "relative": (0.2, 0.3, 0.4), "centre": (0.15, 0.2, 0.3)}
BOXES = {
    "toward_centre": (6.0, 12.0, 18.0),
    "away_from_tail": (1.5, 3.0, 4.5),
    "head": (1.0, 1.2, 1.4),
    "elongation": (1.25, 1.75, 2.25),
}
NOTHING = 0.6  # the share where a head is not held by any smaller box
CUT = 0.7  # of each side, in photographs cut so that the head is not in the middle
CUTS = 4  # of each photograph


@dataclasses.dataclass(frozen=True, kw_only=True)
class Photograph:
    """One photograph; rectangles are left, top, right and bottom in parts of its width and height.

    Attributes:
      pixels: at the reduced size at which the method would decode it.
      data: the file.
      shape: height and width of the whole.
    """

    name: str
    shape: tuple[int, int]
    pixels: np.ndarray
    data: bytes
    head: np.ndarray
    original: np.ndarray


def read_photographs(folder: Path) -> list[Photograph]:
    """Return the photographs that have a rectangle, in the order of their names."""
    heads, boxes = (json.loads((folder / name).read_text()) for name in ("heads.json", "original_boxes.json"))
    found = []
    for name, rectangles in sorted(heads.items()):
        shape = boxes[name]["height"], boxes[name]["width"]
        data, (rectangle,) = (folder / name).read_bytes(), rectangles
        found.append(
            Photograph(
                name=name,
                shape=shape,
                pixels=decode_image(data, scale=choose_scale(shape))[0],
                data=data,
                head=in_parts([rectangle[side] for side in ("x", "y", "width", "height")], shape),
                original=in_parts(boxes[name]["box"], shape),
            )
        )
    return found


# --- rectangles


def in_parts(box: Sequence[float], shape: tuple[int, int]) -> np.ndarray:
    """Return (x, y, width, height) in pixels as left, top, right and bottom in parts of an image.

    >>> in_parts((10, 10, 20, 20), (40, 100)).tolist()
    [0.1, 0.25, 0.3, 0.75]
    """
    x, y, width, height = box
    return np.array([x, y, x + width, y + height]) / np.array([shape[1], shape[0]] * 2)


def grow(boxes: np.ndarray, part: float) -> np.ndarray:
    """Return boxes with a part of their width and height added on each side, within the image.

    >>> grow(np.array([[0.1, 0.4, 0.3, 0.5]]), 0.5).round(3).tolist()
    [[0.0, 0.35, 0.4, 0.55]]
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.clip(np.concatenate([boxes[:, :2] - part * sides, boxes[:, 2:] + part * sides], axis=1), 0, 1)


def shares(boxes: np.ndarray) -> np.ndarray:
    """Return the part of the image in each box."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def grow_to_share(boxes: np.ndarray, share: float) -> np.ndarray:
    """Return all boxes grown, or shrunk, by the one part that makes their median share what is asked."""
    low, high = -0.49, 5.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if np.median(shares(grow(boxes, middle))) >= share else (middle, high)
    return grow(boxes, high)


def covered(boxes: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """Return the part of each head that its box holds: 1 where it holds it wholly."""
    within = np.minimum(boxes[:, 2:], heads[:, 2:]) - np.maximum(boxes[:, :2], heads[:, :2])
    part = within.clip(0).prod(axis=1) / (heads[:, 2:] - heads[:, :2]).prod(axis=1)
    return np.where(part > 1 - 1e-9, 1.0, part)


def centred(boxes: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """Return whether the middle of each head is in its box."""
    middle = (heads[:, :2] + heads[:, 2:]) / 2
    return ((boxes[:, :2] <= middle) & (middle <= boxes[:, 2:])).all(axis=1)


# --- methods


def find_boxes(photographs: Sequence[Photograph], options: SalientOptions | Sequence[SalientOptions]) -> np.ndarray:
    """Return the method's boxes, as the job gives them: in whole pixels. An image without one has none of its area.

    The options are the same for all, or one for each.
    """
    each = [options] * len(photographs) if isinstance(options, SalientOptions) else options
    boxes = []
    for photograph, chosen in zip(photographs, each, strict=True):
        box = find_salient_region(photograph.pixels, chosen, shape=photograph.shape).box
        boxes.append(in_parts(box or (0, 0, 0, 0), photograph.shape))
    return np.array(boxes)


def find_fast(photographs: Sequence[Photograph]) -> np.ndarray:
    """Return the boxes of the method `fast`."""
    boxes = []
    for each in photographs:
        scale, options = reduction(read_header(each.data), OriginalOptions())
        pixels, _ = decode_image(each.data, scale=scale)
        boxes.append(find_region_original(pixels, options, shape=each.shape).box)
    return np.array([in_parts(box or (0, 0, 0, 0), each.shape) for box, each in zip(boxes, photographs, strict=True)])


def middle_boxes(count: int, share: float) -> np.ndarray:
    """Return boxes in the middle of the image, which look at nothing."""
    reach = math.sqrt(share) / 2
    return np.tile([0.5 - reach, 0.5 - reach, 0.5 + reach, 0.5 + reach], (count, 1))


def vary(options: SalientOptions, choices: dict[str, tuple[float, ...]]) -> Iterator[SalientOptions]:
    """Yield options for all combinations of choices."""
    for values in itertools.product(*choices.values()):
        yield dataclasses.replace(options, **dict(zip(choices, values, strict=True)))


def combinations() -> list[tuple[SalientOptions, list[SalientOptions]]]:
    """Return what cross-validation chooses from: for each way to find the body, all ways to place the box."""
    return [(options, list(vary(options, BOXES))) for options in vary(SalientOptions(), BODIES)]


def smallest_shares(photographs: Sequence[Photograph]) -> np.ndarray:
    """Return, for all combinations of choices, the smallest share with which each head is held wholly.

    Of shape (combinations, photographs); found to 1 %. A box of a larger share holds that of a smaller.
    """
    rows = []
    maps = [measure_saliency(shrink(photograph.pixels, SalientOptions().size)) for photograph in photographs]
    for options, placings in combinations():
        bodies = [find_body(saliency, options) for saliency in maps]
        for placing in placings:
            rows.append(
                [
                    _smallest_share(body, placing, photograph.head)
                    for body, photograph in zip(bodies, photographs, strict=True)
                ]
            )
    return np.array(rows)


def _smallest_share(body, options: SalientOptions, head: np.ndarray) -> float:
    low, high = 0.03, NOTHING
    if body is None or not _holds(place_box(body, dataclasses.replace(options, share=high)), head):
        return high
    while high > 1.01 * low:
        middle = math.sqrt(low * high)
        holds = _holds(place_box(body, dataclasses.replace(options, share=middle)), head)
        low, high = (low, middle) if holds else (middle, high)
    return high


def _holds(box: Sequence[float], head: np.ndarray) -> bool:
    return box[0] <= head[0] and box[1] <= head[1] and box[2] >= head[2] and box[3] >= head[3]


def leave_one_out(smallest: np.ndarray) -> np.ndarray:
    """Return for each photograph the place of the combination that is best for all others.

    Best is what makes the mean logarithm of the smallest share least, between 6 and 40 %.
    """
    losses = np.log(np.clip(smallest, 0.06, 0.4))
    return (losses.sum(axis=1, keepdims=True) - losses).argmin(axis=0)


def halves(smallest: np.ndarray, *, repeat: int = 200) -> list[float]:
    """Return the part of heads held at SHARES when one random half chooses the options and the other is judged."""
    losses, rng, curves = np.log(np.clip(smallest, 0.06, 0.4)), np.random.default_rng(0), []
    count = smallest.shape[1]
    for _ in range(repeat):
        order = rng.permutation(count)
        best = losses[:, order[: count // 2]].sum(axis=1).argmin()
        curves.append([(smallest[best, order[count // 2 :]] <= share).mean() for share in SHARES])
    return np.mean(curves, axis=0).tolist()


# --- figures


def wilson(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % confidence interval of a proportion (Wilson 1927).

    >>> [round(end, 3) for end in wilson(8, 10)]
    [0.49, 0.943]
    """
    middle = (hits + z * z / 2) / (count + z * z)
    reach = z * math.sqrt(hits * (count - hits) / count + z * z / 4) / (count + z * z)
    return middle - reach, middle + reach


def sign_test(better: int, worse: int) -> float:
    """Return the two-sided p of a paired comparison, of those that differ (McNemar's exact test).

    >>> sign_test(5, 0), sign_test(3, 3)
    (0.0625, 1.0)
    """
    count = better + worse
    tail = sum(math.comb(count, k) for k in range(min(better, worse) + 1)) / 2**count
    return min(1.0, 2 * tail)


def tell_boxes(name: str, boxes: np.ndarray, heads: np.ndarray) -> list[str]:
    """Return a row of the table of methods."""
    part = covered(boxes, heads)
    columns = [centred(boxes, heads), part >= 0.5, part == 1, part == 0]
    return [name, *(f"{column.mean():.2f}" for column in columns), f"{100 * np.median(shares(boxes)):.1f} %"]


def tell_held(hits: int, count: int) -> str:
    """Return a proportion with its interval."""
    low, high = wilson(hits, count)
    return f"{hits / count:.2f} ({low:.2f} to {high:.2f})"


# --- photographs cut so that the head is not in the middle


def cut(photograph: Photograph, rng: np.random.Generator) -> Photograph:
    """Return a random part of a photograph that holds the whole head, at any place in it."""
    height, width = photograph.shape
    ends = [(max(0.0, photograph.head[side + 2] - CUT), min(1 - CUT, photograph.head[side])) for side in (0, 1)]
    left, top = (round(rng.uniform(*end) * side) for end, side in zip(ends, (width, height), strict=True))
    across, down = round(CUT * width), round(CUT * height)
    pixels = decode_image(photograph.data)[0][top : top + down, left : left + across]
    place = np.array([left, top, left, top]) / np.array([width, height] * 2)
    box = find_region_original(pixels).box
    return dataclasses.replace(
        photograph,
        shape=(down, across),
        pixels=shrink(pixels, SalientOptions().size),
        data=b"",
        head=np.clip((photograph.head - place) * np.array([width / across, height / down] * 2), 0, 1),
        original=in_parts(box or (0, 0, 0, 0), (down, across)),
    )


# --- the command


def measure(photographs: Sequence[Photograph]) -> tuple[list[str], dict]:
    """Return the tables, in Markdown, and what the picture shows."""
    heads = np.array([photograph.head for photograph in photographs])
    original = np.array([photograph.original for photograph in photographs])
    count, default = len(photographs), SalientOptions()
    smallest = smallest_shares(photographs)
    every = [placing for _, placings in combinations() for placing in placings]
    unseen = [every[place] for place in leave_one_out(smallest)]

    table = [["method", "head's centre inside", "half covered", "wholly covered", "missed", "median share"]]
    for part in GROWN:
        name = f"original, grown by {part:.0%} a side" if part else "original"
        table.append(tell_boxes(name, grow(original, part), heads))
    table.append(tell_boxes("fast", find_fast(photographs), heads))
    for share in (0.15, 0.25):
        table.append(tell_boxes(f"box in the image's middle, {share:.0%}", middle_boxes(count, share), heads))
    for share in (0.10, 0.15, 0.20):
        boxes = find_boxes(photographs, dataclasses.replace(default, share=share))
        name = f"saliency, {share:.0%}" + (", the default" if share == default.share else "")
        table.append(tell_boxes(name, boxes, heads))
        boxes = find_boxes(photographs, [dataclasses.replace(each, share=share) for each in unseen])
        table.append(tell_boxes(f"saliency, {share:.0%}, cross-validated", boxes, heads))

    curves: dict[str, list[np.ndarray]] = {"original": [], "middle": [], "saliency": [], "unseen": []}
    for share in SHARES:
        curves["original"].append(covered(grow_to_share(original, share), heads) == 1)
        curves["middle"].append(covered(middle_boxes(count, share), heads) == 1)
        boxes = find_boxes(photographs, dataclasses.replace(default, share=share))
        curves["saliency"].append(covered(boxes, heads) == 1)
        boxes = find_boxes(photographs, [dataclasses.replace(each, share=share) for each in unseen])
        curves["unseen"].append(covered(boxes, heads) == 1)
    split = halves(smallest)
    compared = [
        [
            "share",
            "original",
            "saliency, cross-validated",
            "by halves",
            "any",
            "only it",
            "only original",
            "p",
            "middle",
        ]
    ]
    for place, share in enumerate(SHARES):
        first, ours = curves["original"][place], curves["unseen"][place]
        better, worse = int((ours & ~first).sum()), int((first & ~ours).sum())
        compared.append(
            [
                f"{100 * share:g} %",
                *(tell_held(int(hits.sum()), count) for hits in (first, ours)),
                f"{split[place]:.2f}",
                f"{(smallest <= share).mean():.2f}",
                str(better),
                str(worse),
                f"{sign_test(better, worse):.2g}",
                f"{curves['middle'][place].mean():.2f}",
            ]
        )

    ablated = {
        "as it is": {},
        "no prior for the image's middle at all": {"centre": 100.0, "toward_centre": 0.0},
        "the end by the tail alone": {"toward_centre": 0.0},
        "the end by the image's middle alone": {"away_from_tail": 0.0},
        "the box around the body's centroid": {"head": 0.0},
        "a box of no preferred direction": {"elongation": 1.0},
    }
    told = [["with the default options, but", *(f"{100 * share:g} %" for share in SHARES)]]
    for name, change in ablated.items():
        rows = (
            covered(find_boxes(photographs, dataclasses.replace(default, share=share, **change)), heads) == 1
            for share in SHARES
        )
        told.append([name, *(f"{row.mean():.2f}" for row in rows)])

    rng = np.random.default_rng(0)
    cuts = [cut(photograph, rng) for photograph in photographs for _ in range(CUTS)]
    cut_heads = np.array([photograph.head for photograph in cuts])
    cut_boxes = np.array([photograph.original for photograph in cuts])
    off = [["share", "original", "saliency", "saliency, no prior for the middle", "middle"]]
    for share in (*SHARES, 0.35, 0.4):
        plain, blind = (
            find_boxes(cuts, dataclasses.replace(default, share=share, **ablated[name])) for name in list(ablated)[:2]
        )
        methods = (grow_to_share(cut_boxes, share), plain, blind, middle_boxes(len(cuts), share))
        off.append([f"{100 * share:g} %", *(f"{(covered(boxes, cut_heads) == 1).mean():.2f}" for boxes in methods)])

    text = [
        "## Measured",
        "",
        f"{count} photographs with a rectangle drawn by a person around the head. Written by "
        "`python benchmarks/whales_heads.py`.",
        "",
        *harness.markdown_table(table, text={0}),
        "",
        "The default options were chosen with these photographs in view, so that their rows flatter. "
        f"`cross-validated`: for each photograph the options are those of {len(every):,} combinations that are best "
        f"for the {count - 1} others. `by halves`: one random half chooses, the other is judged, 200 times. `any`: the "
        "mean of all combinations. In brackets are 95 % intervals (Wilson). `only it`, `only original`: heads that one "
        "of the two holds and the other does not, and the two-sided p of that (McNemar's exact test). `original` is "
        "grown or shrunk until its median share is the same; `middle` is a box in the image's middle.",
        "",
        "Heads wholly covered:",
        "",
        *harness.markdown_table(compared, text=set()),
        "",
        "![Heads wholly covered, by share of the image](images/whales-heads.png)",
        "",
        "What each part is worth, heads wholly covered by share:",
        "",
        *harness.markdown_table(told, text={0}),
        "",
        f"The same photographs cut at random to {CUT:.0%} of each side, {CUTS} times, with the head anywhere in the "
        "cut, heads wholly covered:",
        "",
        *harness.markdown_table(off, text=set()),
    ]
    wrapped = [part for line in text for part in ([line] if line[:1] in "|!" else textwrap.wrap(line, 120))]
    return wrapped, curves


def draw(curves: dict[str, list[np.ndarray]], count: int, path: Path) -> None:
    """Write the curves with their intervals as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    names = {
        "unseen": ("saliency, cross-validated", "tab:blue", "o-"),
        "saliency": ("saliency, default options", "tab:blue", ":"),
        "original": ("original, grown", "tab:red", "s-"),
        "middle": ("box in the image's middle", "tab:gray", "--"),
    }
    x = [100 * share for share in SHARES]
    for key, (name, colour, style) in names.items():
        hits = [int(row.sum()) for row in curves[key]]
        axes.plot(x, [h / count for h in hits], style, color=colour, label=name, markersize=4)
        if key in ("unseen", "original"):
            low, high = zip(*(wilson(h, count) for h in hits), strict=True)
            axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="median share of the image, %", ylabel="heads wholly covered", ylim=(0, 1.02), xlim=(8, 30))
    axes.set_title(f"{count} photographs; bands: 95 % intervals (Wilson)", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def main(arguments: Sequence[str]) -> None:
    """Measure, print the tables, and with --write put them and the picture into the documentation."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--photographs", type=Path, default=PHOTOGRAPHS, metavar="DIR", help="default: %(default)s")
    made.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)} and its picture")
    given = made.parse_args(arguments)
    if not (given.photographs / "heads.json").exists():
        raise SystemExit(f"there are no photographs with heads in {given.photographs}: nothing to measure")
    photographs = read_photographs(given.photographs)
    text, curves = measure(photographs)
    section = "\n".join(text) + "\n"
    print(section, end="")
    if given.write:
        before = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(harness.replace_section(before, section), encoding="utf-8")
        draw(curves, len(photographs), PICTURE)


if __name__ == "__main__":
    main(sys.argv[1:])
