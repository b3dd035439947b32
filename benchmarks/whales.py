"""Time the whales job against decoding alone and against the published program: python benchmarks/whales.py.

What is found is compared: the published program's boxes, and the overlap of the fast method's with them.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, Python looks only in this file's folder

from benchmarks import harness  # noqa: E402
from benchmarks.harness import Program, Result  # noqa: E402

PHOTOGRAPHS = ROOT.parent / "shared/data/whales"
IMAGES = ("opencv-python-headless", "simplejpeg", "numba")
REFERENCE = "original, 1 core"
RATIO_TO = "simplejpeg, 1 core"


def _job(method: str, cores: int, more: tuple[str, ...] = (), about: str = "") -> Program:
    arguments = ("benchmarks/pin.py", str(cores), "-m", "molino", "whales", "--quiet", "--input", "{input}")
    arguments += ("--output", "{output}", "--method", method, "--workers", str(cores), *more)
    name = f"{method}{' without crops' if '--crop-quality' in more else ''}, {cores} core{'s' * (cores > 1)}"
    return Program(name=name, about=about, arguments=arguments, packages=())


def _peer(how: str, cores: int, about: str) -> Program:
    arguments = ("benchmarks/pin.py", str(cores), "benchmarks/peers/whales_decode.py", "{input}", "{output}", how)
    name = f"{how}, {cores} core{'s' * (cores > 1)}"
    return Program(name=name, about=about, arguments=(*arguments, str(cores)), packages=())


BARE = ("--crop-quality", "0")
JOB = _job("original", 1, about="this job, files to Parquet and report, with the crops")
PROGRAMS = (
    JOB,
    _job("original", 2, about="the same with two workers"),
    _job("original", 1, BARE, "boxes, and no crops"),
    _job("original", 2, BARE, "the same with two workers"),
    _job("fast", 1, BARE, "at a quarter or half of the sides, and no crops"),
    _job("fast", 2, BARE, "the same with two workers"),
    _peer("find", 1, "the functions of the original method, without the job"),
    _peer("find", 2, "the same in two threads"),
    _peer("simplejpeg", 1, "decoding alone, by the decoder that the job uses"),
    _peer("simplejpeg", 2, "the same in two threads"),
    _peer("cv2", 1, "decoding alone, by OpenCV"),
    _peer("half", 1, "decoding alone at half of the sides"),
    _peer("quarter", 1, "decoding alone at a quarter of the sides"),
    Program(
        name="published program, 1 core",
        about="the published program; only on the smaller input, once",
        arguments=("benchmarks/pin.py", "1", "benchmarks/peers/whales_original.py", "{input}", "{output}"),
        packages=(),
        max_rows=60,
        once=True,
    ),
)


def make_input(data: Path, photographs: Path | None, times: int) -> tuple[Path, int]:
    """Return a folder that holds every photograph `times` times, in the page cache, and how many images that is."""
    folder = data / f"images-{times}"
    if photographs is None:
        photographs = data / "sample"
        if not photographs.exists():
            arguments = ("-m", "molino", "sample", "whales", "--output", str(photographs), "--images", "29")
            subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True)
        photographs /= "images"
    paths = sorted(photographs.glob("*.jpg"))
    for time in range(times):
        (folder / str(time)).mkdir(parents=True, exist_ok=True)
        for path in paths:
            copy = folder / str(time) / path.name
            if not copy.exists():
                shutil.copyfile(path, copy)
            harness.load_into_cache(copy)
    return folder, times * len(paths)


def run_all(programs: Sequence[Program], source: Path, images: int, data: Path, rounds: int) -> dict[str, Result]:
    """Run each program, round after round, and compare what it found with what the reference did."""
    fitting = [program for program in programs if not program.max_rows or images <= program.max_rows]
    results = {program.name: Result() for program in fitting}
    for program, result in harness.run_rounds(fitting, results, source, data, rounds, JOB, read_found, compare):
        told = "; ".join(result.differs) or "equal"
        print(f"{images} images, {program.name}: {result.runs[-1].wall:.2f} s, {told}", flush=True)
    return results


def read_found(output: Path) -> dict[str, tuple] | None:
    """Return box, contours and marked pixels of each image by its key, or None where only decoding was timed."""
    import pyarrow.parquet as pq

    told = output / "regions.json"
    if told.exists():
        found = json.loads(told.read_text())
        return {key: (each["box"], each["contours"], each["white_pixels"]) for key, each in found.items()}
    columns = ["key", "x", "y", "box_width", "box_height", "regions", "white_pixels"]
    rows = [
        row for path in output.glob("regions/*.parquet") for row in pq.read_table(path, columns=columns).to_pylist()
    ]
    found = {}
    for row in rows:
        box = None if row["x"] is None else [row["x"], row["y"], row["box_width"], row["box_height"]]
        found[row["key"]] = (box, row["regions"], row["white_pixels"])
    return found or None


def compare(expected: Mapping[str, tuple] | None, found: Mapping[str, tuple] | None) -> list[str]:
    """Return how two finds differ: images, and of unequal ones the overlap of the boxes."""
    if found is None or expected is None:
        return ["finds nothing"]
    if set(expected) != set(found):
        return ["other images"]
    unequal = sum(expected[key] != found[key] for key in expected)
    if not unequal:
        return []
    overlaps = [overlap(expected[key][0], found[key][0]) for key in expected]
    mean, least = sum(overlaps) / len(overlaps), min(overlaps)
    return [f"{unequal} of {len(expected)} images; overlap of boxes {mean:.3f}, {least:.3f} at least"]


def overlap(one: Sequence[int] | None, other: Sequence[int] | None) -> float:
    """Return the area common to two boxes by that of both, or whether both are None.

    >>> overlap([0, 0, 2, 2], [1, 0, 2, 2])
    0.3333333333333333
    """
    if one is None or other is None:
        return float(one == other)
    width, height = (min(one[i] + one[i + 2], other[i] + other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    both = max(width, 0) * max(height, 0)
    return both / (one[2] * one[3] + other[2] * other[3] - both)


def marginal_table(results: Mapping[int, Mapping[str, Result]]) -> list[str]:
    """Return what one more image costs, from the smallest input to the largest: the start is left out."""
    small, large = min(results), max(results)

    def cost(name: str) -> float | None:
        before, after = results[small].get(name), results[large].get(name)
        if not (before and after and before.runs and after.runs):
            return None
        return 1000 * (after.best.wall - before.best.wall) / (large - small)

    base = cost(RATIO_TO)
    cells = [["program", "ms an image", f"rate by that of {RATIO_TO}"]]
    for name in results[large]:
        if (found := cost(name)) is not None and base is not None:
            cells.append([name, f"{found:.1f}", f"{base / found:.2f}"])
    return harness.markdown_table(cells, text={0})


def render(results: Mapping[int, Mapping[str, Result]], facts: Sequence[str], programs: Sequence[Program]) -> str:
    """Return the section of the results, in Markdown."""
    parts = ["## whales", "", *facts, "", f"{harness.METHOD} Rows are images.", ""]
    parts += [f"- {program.name}: {program.about}" for program in programs]
    for images, found in results.items():
        table = harness.results_table(images, found, reference=REFERENCE, ratio_to=RATIO_TO)
        parts += ["", f"### {images} images", "", *table]
    if len(results) > 1:
        parts += ["", "### Each further image", "", *marginal_table(results)]
    return "\n".join(parts) + "\n"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = PHOTOGRAPHS if PHOTOGRAPHS.exists() else None
    made.add_argument(
        "--photographs", type=Path, default=default, metavar="DIR", help=f"of .jpg (default {default or 'the sample'})"
    )
    made.add_argument(
        "--times", type=int, nargs="+", default=[1, 10], metavar="K", help="copies of each (default 1 10)"
    )
    made.add_argument("--only", metavar="TEXT,TEXT", help="programs whose names hold one of these; the job always runs")
    made.add_argument("--rounds", type=int, default=2, metavar="N", help="default 2")
    made.add_argument("--data", type=Path, metavar="DIR", help="keep the inputs here (default: a temporary folder)")
    made.add_argument("--results", type=Path, default=harness.RESULTS, metavar="FILE", help="default: %(default)s")
    return made.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Measure, print the results and write them to their file."""
    given = parse(arguments)
    wanted = given.only.split(",") if given.only else [""]
    programs = [p for p in PROGRAMS if p is JOB or any(text in p.name for text in wanted)]
    facts = harness.machine_facts(["apache-beam", "pyarrow", *IMAGES], ["python", "benchmarks/whales.py", *arguments])
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        data = (given.data or Path(temporary)).resolve()
        data.mkdir(parents=True, exist_ok=True)
        for times in sorted(given.times):
            source, images = make_input(data, given.photographs, times)
            results[images] = run_all(programs, source, images, data, given.rounds)
    section = render(results, facts, programs)
    print(f"\n{section}", end="")
    before = given.results.read_text(encoding="utf-8") if given.results.exists() else "# Benchmarks\n"
    given.results.write_text(harness.replace_section(before, section), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
