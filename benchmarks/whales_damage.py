"""How much damage to photographs no decoder notices: python benchmarks/whales_damage.py FOLDER.

Photographs of the folder, at most 1,200 pixels a side, are written as encoders of every kind do, and damaged: cut off,
with a cluster of zeros, with a bit turned. OpenCV's decoder is the judge beside ours.
"""

import argparse
import io
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, Python looks only in this file's folder

from benchmarks import harness  # noqa: E402
from molino.quiet import record_stderr  # noqa: E402
from molino.transforms.images.decode import ImageError, decode_image  # noqa: E402

PAGE = ROOT / "docs/whales-damage.md"
ENCODERS = {  # options of Pillow
    "4:2:0": {}, "4:4:4": {"subsampling": 0}, "4:1:1": {"subsampling": "4:1:1"}, "optimized": {"optimize": True},
    "restart markers": {"restart_marker_rows": 1}, "progressive": {"progressive": True}, "gray": {"mode": "L"},
    "CMYK": {"mode": "CMYK"}, "CMYK, restart markers": {"mode": "CMYK", "restart_marker_rows": 2},
    "progressive, 4:4:4": {"progressive": True, "subsampling": 0},
}  # fmt: skip
TIMES = {"cut off": 200, "lost cluster": 500, "one bit": 500}
CLUSTER = 4096


def encode(path: Path, *, mode: str = "RGB", **options) -> bytes:
    """Return a photograph as an encoder writes it."""
    image = Image.open(path).convert(mode)
    image.thumbnail((1200, 1200))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90, **options)
    return file.getvalue()


def damage(data: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """Return a JPEG with damage of a kind at a random place."""
    place = int(rng.integers(4, len(data)))
    if kind == "cut off":
        return data[:place]
    if kind == "lost cluster":
        place -= place % CLUSTER
        return data[:place] + bytes(min(CLUSTER, len(data) - place)) + data[place + CLUSTER :]
    return data[:place] + bytes([data[place] ^ 1 << int(rng.integers(8))]) + data[place + 1 :]


def told(data: bytes, sound: np.ndarray) -> tuple[str, str]:
    """Return what becomes of a photograph, and what OpenCV says: nothing, another thing, or other pixels."""
    with record_stderr() as printed:
        try:
            other = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error:
            other = None
    warned = "warns" if other is None or printed[0].strip() else "silent"
    try:
        image, damaged = decode_image(data)
    except ImageError as error:
        return f"rejected: {error.reason}", warned
    if damaged:
        return "flagged", warned
    return "the same pixels" if np.array_equal(image, sound) else "other pixels", warned


def run(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yield kind of damage, what became of the photograph, and whether OpenCV warned."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))[:20]
    encoders, rng = list(ENCODERS.values()), np.random.default_rng(0)
    files = [encode(path, **encoders[i % len(encoders)]) for i, path in enumerate(paths)]
    sound = [decode_image(file)[0] for file in files]  # none of them is refused
    for kind, times in TIMES.items():
        for time in range(times):
            number = time % len(files)
            yield kind, *told(damage(files[number], kind, rng), sound[number])


def main(arguments: Sequence[str]) -> None:
    """Measure and print, and with --write put the table into the documentation."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("folder", type=Path, help="of photographs; the first 20 are taken")
    made.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)}")
    given = made.parse_args(arguments)
    counts = Counter(run(given.folder))
    rows = [["damage", "of", "rejected or flagged", "OpenCV warns, a sound row", "the same pixels", "other pixels"]]
    for kind, times in TIMES.items():
        found = {name: sum(n for (k, what, _), n in counts.items() if (k, what) == (kind, name)) for name in
                 ("the same pixels", "other pixels")}  # fmt: skip
        missed = sum(n for (k, what, warned), n in counts.items() if k == kind and what in found and warned == "warns")
        silent = [found["the same pixels"], found["other pixels"]]
        shown = [times - sum(silent), missed, *(f"{n} ({n / times:.1%})" for n in silent)]
        rows.append([kind, str(times), *map(str, shown)])
    command = "Written by `python benchmarks/whales_damage.py FOLDER --write`."
    section = "\n".join(["## Measured", "", command, "", *harness.markdown_table(rows, text={0}), ""])
    print(section)
    if given.write:
        PAGE.write_text(harness.replace_section(PAGE.read_text(encoding="utf-8"), section), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
