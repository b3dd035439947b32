"""How well presence tells whales from plain water: python benchmarks/whales_presence.py FOLDER.

Every photograph of the folder shows a whale; the waters are cuts of the same photographs, listed in a table that a
person made by looking: photograph, x, y, width, height. A cut is in the fold of its photograph.
"""

import argparse
import csv
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, Python looks only in this file's folder

from benchmarks import harness  # noqa: E402
from benchmarks.whales_heads import tell_held, wilson  # noqa: E402
from molino.jobs.whales import METHODS, extraction, parser  # noqa: E402
from molino.transforms.images.decode import decode_image, read_header  # noqa: E402
from molino.transforms.images.encode import encode_jpeg  # noqa: E402
from molino.transforms.whales.extract import way_of  # noqa: E402
from molino.transforms.whales.find_salient_region import HALF, MASS_POWER, weigh_body  # noqa: E402

WATERS = ROOT / "benchmarks/whales_waters.csv"
PAGE = ROOT / "docs/whales-presence.md"
POWERS = (0.0, 0.25, 0.5)  # what a fold chooses from
RESAMPLED = 2000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pictures:
    """What one method sees of all photographs and waters.

    Attributes:
      whales: (n,) bool, whether it is a photograph, or else water.
      folds: (n,) int, the photograph.
      parts: (n, 2), score and mass of the likeliest body.
      scores: (n,), of the method's row; 0 without a box.
    """

    whales: np.ndarray
    folds: np.ndarray
    parts: np.ndarray
    scores: np.ndarray

    def evidence(self, power: float) -> np.ndarray:
        """Return the evidence for an animal in each."""
        return self.parts[:, 0] * self.parts[:, 1] ** power


def read_pictures(folder: Path, waters: Path) -> list[tuple[bool, int, bytes]]:
    """Return whether it is a whale, its photograph's number, and a JPEG: photographs as they are, then their waters."""
    with waters.open(newline="") as file:
        rows = [
            (row["photograph"], *(int(row[k]) for k in ("x", "y", "width", "height"))) for row in csv.DictReader(file)
        ]
    found = []
    for number, path in enumerate(sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))):
        data = path.read_bytes()
        pixels, _ = decode_image(data)
        cuts = [pixels[y : y + height, x : x + width] for name, x, y, width, height in rows if name == path.name]
        found += [(True, number, data), *((False, number, encode_jpeg(cut, quality=95)) for cut in cuts)]
    return found


def look(pictures: Sequence[tuple[bool, int, bytes]], method: str) -> Pictures:
    """Return what a method sees, at the size at which the job decodes for it."""
    how = extraction(parser().parse_args(["--input", "-", "--output", "-", "--method", method]))
    parts, scores = [], []
    for _, _, data in pictures:
        header = read_header(data)
        scale, find = way_of(how, header)
        pixels, _ = decode_image(data, scale=scale)
        parts.append(weigh_body(pixels))
        scores.append(find(pixels, shape=header.shape).score)
    whales, folds = (np.array([picture[i] for picture in pictures]) for i in (0, 1))
    return Pictures(whales=whales, folds=folds, parts=np.array(parts), scores=np.array(scores))


def auc(values: np.ndarray, whales: np.ndarray) -> float:
    """Return the part of pairs of a whale and a water in which the whale has the larger value, ties by half."""
    ours, others = values[whales][:, None], values[~whales]
    return float((ours > others).mean() + (ours == others).mean() / 2)


def choose(pictures: Pictures, among: np.ndarray) -> tuple[float, float]:
    """Return power and half: the largest area, then the middle of where the mean of both error rates is least."""
    whales = pictures.whales[among]
    power = max(POWERS, key=lambda power: auc(pictures.evidence(power)[among], whales))
    values = np.sort(pictures.evidence(power)[among])
    middles = (values[1:] + values[:-1]) / 2
    evidence = pictures.evidence(power)[among]
    wrong = [(evidence[whales] < half).mean() + (evidence[~whales] >= half).mean() for half in middles]
    least = middles[np.isclose(wrong, min(wrong))]
    return power, float((least[0] + least[-1]) / 2)


def judge_unseen(pictures: Pictures) -> np.ndarray:
    """Return each picture's presence by the two numbers that all other photographs choose."""
    presence = np.empty(len(pictures.folds))
    for fold in np.unique(pictures.folds):
        power, half = choose(pictures, pictures.folds != fold)
        evidence = pictures.evidence(power)[pictures.folds == fold]
        presence[pictures.folds == fold] = evidence / (evidence + half)
    return presence


def resample(values: np.ndarray, pictures: Pictures) -> list[tuple[float, float]]:
    """Return 95 % intervals of the area and of the waters taken for whales, photographs drawn again and again."""
    rng, numbers = np.random.default_rng(0), np.unique(pictures.folds)
    members = [np.flatnonzero(pictures.folds == number) for number in numbers]
    drawn = []
    for _ in range(RESAMPLED):
        rows = np.concatenate([members[i] for i in rng.integers(0, len(numbers), len(numbers))])
        whales = pictures.whales[rows]
        drawn.append((auc(values[rows], whales), (values[rows][~whales] >= 0.5).mean()))
    low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def tell(name: str, values: np.ndarray, pictures: Pictures, *, errors: bool = True) -> list[str]:
    """Return a row of the table."""
    (low, high), (least, most) = resample(values, pictures)
    area = f"{auc(values, pictures.whales):.3f} ({low:.3f} to {high:.3f})"
    if not errors:
        return [name, area, "", ""]
    missed = int((values[pictures.whales] < 0.5).sum())
    wrong = int((values[~pictures.whales] >= 0.5).sum())
    waters = int((~pictures.whales).sum())
    return [
        name,
        area,
        f"{missed}: {tell_held(missed, int(pictures.whales.sum()))}",
        f"{wrong}: {wrong / waters:.3f} ({min(least, wilson(wrong, waters)[0]):.3f} to "
        f"{max(most, wilson(wrong, waters)[1]):.3f})",
    ]


def measure(pictures: Sequence[tuple[bool, int, bytes]], command: str) -> list[str]:
    """Return the section of the page."""
    table = [["what", "area under the curve", "whales missed", "waters taken for whales"]]
    for method in METHODS:
        seen = look(pictures, method)
        evidence = seen.evidence(MASS_POWER)
        table.append(tell(f"presence, {method}, in folds", judge_unseen(seen), seen))
        table.append(tell(f"presence, {method}, as it is", evidence / (evidence + HALF), seen))
        table.append(tell(f"score of {method}", seen.scores, seen, errors=False))
    whales = sum(picture[0] for picture in pictures)
    told = f"{whales} photographs and {len(pictures) - whales} cuts of plain water from them. Written by `{command}`."
    return ["## Measured", "", told, "", *harness.markdown_table(table, text={0}), ""]


def main(arguments: Sequence[str]) -> None:
    """Measure and print, and with --write put the table into the documentation."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("folder", type=Path, help="of photographs")
    made.add_argument("--waters", type=Path, default=WATERS, metavar="CSV", help="default: %(default)s")
    made.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)}")
    given = made.parse_args(arguments)
    text = measure(read_pictures(given.folder, given.waters), "python benchmarks/whales_presence.py FOLDER --write")
    print("\n".join(text))
    if given.write:
        PAGE.write_text(harness.replace_section(PAGE.read_text(encoding="utf-8"), "\n".join(text)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
