"""Fill in the tables of docs/scale.md from the constants of `molino plan`: `make docs`."""

import dataclasses
import math
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the jobs of this checkout, installed or not

from molino.jobs import names, pca, predict, shapes, titles, whales  # noqa: E402
from molino.jobs.commands import plan  # noqa: E402
from molino.jobs.forecast.estimate import forecast, read_constants  # noqa: E402
from molino.jobs.forecast.sizes import Size  # noqa: E402
from molino.jobs.run.output import cut  # noqa: E402
from molino.jobs.runners.flags import FLINK  # noqa: E402

PAGE = ROOT / "docs/scale.md"
MARK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
ROWS = (10**8, 10**9, 10**10)
IMAGES = (10**6, 10**7)
FILE_BYTES = 10**9  # of an input file, where there are several
SPAN_BYTES = 16 << 20
MODEL = SimpleNamespace(dim=128, bytes=500_000_000)
PHOTOGRAPH = {"pixels": 10e6, "bytes": 900_000}
PRICES = (0.05, 0.005)  # a core hour, a GB hour: assumptions, see the page
Sized = Callable[..., Size]


def text_job(module: Any, sample_of: Callable[..., Any], sized: Sized, **how: Any) -> Sized:
    """Return what gives the size of a job on so many rows of made-up text, in files of a gigabyte."""
    from molino.jobs.options import text_format
    from molino.transforms.files.storage import match
    from molino.transforms.text.sources import list_sources
    from molino.transforms.text.take_sample import take_sample

    optional = getattr(module, "OPTIONAL", ())
    keyed = how.pop("keyed", None)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/sample"
        sample_of(path, rows=20_000)
        given = module.parser().parse_known_args(["--input", path, "--output", "out", "--model", "m=m"])[0]
        text = text_format(given, module.COLUMNS, optional)
        [source] = list_sources(match(path), text)
        sample = take_sample([source], text, keyed)

    def size(rows: int, span_bytes: int = SPAN_BYTES) -> Size:
        total = round(rows / sample.rows_a_byte)
        count = max(1, round(total / FILE_BYTES))
        sources = [dataclasses.replace(source, bytes=total // count + source.start)] * count
        _, shards, _ = cut(total, block_bytes=module.BLOCK_BYTES, asked=None)
        return sized(sources, text, span_bytes=span_bytes, shards=shards, sample=sample, **how)

    return size


def make_sizes() -> dict[str, Sized]:
    """Return what gives the size of each job on so many rows."""
    from molino.transforms.names.sample import sample_names
    from molino.transforms.titles.merge import key_titles
    from molino.transforms.titles.sample import sample_titles

    return {
        "names": text_job(names, sample_names, names.names_size),
        "titles": text_job(titles, sample_titles, titles.titles_size, keyed=key_titles, models=[MODEL], number_bytes=4),
        "predict": text_job(predict, sample_titles, predict.predict_size),
        "pca": pca_size,
        "whales": whales_size,
        "shapes": shapes_size,
    }


def pca_size(rows: int, numbers: int = 128) -> Size:
    """Return the size of the pca job on vectors of float32, in row groups of 100,000."""
    import pyarrow as pa

    from molino.transforms.pca.read_vectors import VectorFile, Vectors

    group = 100_000
    file = VectorFile(path="", label="", groups=((group, group * numbers * 4),) * (rows // group))
    schema = pa.schema([("v", pa.list_(pa.float32(), numbers))])
    vectors = Vectors(column="v", numbers=numbers, type=pa.float32(), schema=schema, files=(file,))
    return pca.pca_size(vectors, components=None, vector_type="float32", file_bytes=rows * numbers * 4)


def whales_size(images: int) -> Size:
    """Return the size of the whales job on photographs."""
    from molino.transforms.images.list_images import MOST_UNIT

    how: Any = SimpleNamespace(method="original", crop_quality=90, crop_size=0)
    total = images * PHOTOGRAPH["bytes"]
    units = math.ceil(total / MOST_UNIT)
    return whales.images_size(
        images, how, most=2000, files=images, bytes_=round(total), pixels=PHOTOGRAPH["pixels"], units=units
    )


def shapes_size(rows: int) -> Size:
    """Return the size of the shapes job: the default sweep on so many training points."""
    from molino.transforms.shapes.points import PROBLEMS, Points
    from molino.transforms.shapes.sweep import expand_sweep, read_sweep

    networks, _ = expand_sweep(read_sweep("default"), "default")
    points = Points(kind="generated", rows=rows, seed=1)
    return shapes.shapes_size(networks, points=points, problems=len(PROBLEMS), plots=True)


# --- tables


def jobs_table(sized: dict[str, Sized]) -> Iterator[Sequence[str]]:
    """Yield the rows of the table of all jobs."""
    yield ("job", "rows", "read", "shuffle", "written", "memory a worker", "widest stage", "2 cores", "100 cores")
    yield ("---", *["---:"] * 5, "---", *["---:"] * 2)
    for job, size in sized.items():
        for rows in {"whales": IMAGES, "shapes": ROWS[:2]}.get(job, ROWS):
            of = size(rows)
            two, hundred = (forecast(job, of, workers=workers) for workers in (2, 100))
            shown = f"{rows:,} {'images' if job == 'whales' else 'points' if job == 'shapes' else 'rows'}"
            amounts = (two.read_bytes, two.shuffle_bytes, two.written_bytes, two.worker_bytes)
            widest = f"{two.widest}: {plan.show_bytes(two.width)} in {two.pieces:,} pieces"
            times = [plan.show_time(one.seconds or 0.0) for one in (two, hundred)]
            yield (f"`{job}`", shown, *[plan.show_bytes(size) if size else "–" for size in amounts], widest, *times)


def cost_table(sized: dict[str, Sized]) -> Iterator[Sequence[str]]:
    """Yield the rows of the table of costs, on a hundred cores."""
    yield ("job", "rows", "core hours", "GB hours", "cost")
    yield ("---", *["---:"] * 4)
    for job, size in sized.items():
        for rows in {"whales": IMAGES, "shapes": ROWS[:2]}.get(job, ROWS):
            of = forecast(job, size(rows), workers=100)
            cost = of.core_hours * PRICES[0] + of.gb_hours * PRICES[1]
            yield (f"`{job}`", f"{rows:,}", f"{of.core_hours:,.3g}", f"{of.gb_hours:,.3g}", f"{cost:,.2f}")


def spans_table(sized: dict[str, Sized]) -> Iterator[Sequence[str]]:
    """Yield the rows of the table of what larger spans do to the names job."""
    yield ("rows", "`--span-bytes`", "shuffle", "of it no rows", "memory a worker", "100 cores", "runner's shuffle")
    yield ("---:",) * 7
    for rows in ROWS[1:]:
        for mebibytes in (16, 128, 1024):
            size = sized["names"](rows, span_bytes=mebibytes << 20)
            one = forecast("names", size, workers=100)
            other = forecast("names", size, workers=100, spills=False)
            share = f"{one.overhead_bytes / one.shuffle_bytes:.0%}"
            shown = [plan.show_bytes(each) for each in (one.shuffle_bytes, one.worker_bytes, other.shuffle_bytes)]
            time = plan.show_time(one.seconds or 0.0)
            yield (f"{rows:,}", f"{mebibytes} MiB", shown[0], share, shown[1], time, shown[2])


def memory_table(_: dict[str, Sized]) -> Iterator[Sequence[str]]:
    """Yield the rows of the table of the peaks that were measured."""
    yield ("job", "rows", "options", "1 worker", "2 workers", "s, 1 core", "CPU s", "s, 2 cores")
    yield ("---", "---:", "---", *["---:"] * 5)
    for job, of in read_constants()["jobs"].items():
        for run in of["runs"]:
            peaks = [plan.show_bytes(peak) for peak in run["peaks"]]
            options = f"`{run['options']}`" if run["options"] else ""
            yield (f"`{job}`", f"{run['rows']:,}", options, *peaks, *(f"{each:.1f}" for each in run["seconds"]))


def constants_table(_: dict[str, Sized]) -> Iterator[Sequence[str]]:
    """Yield the rows of the table of constants."""
    yield (
        "job",
        "start on 1, on 2, s",
        "cores at work of 1, of 2",
        "CPU s a million",
        "bytes written",
        "bytes of memory",
    )
    yield ("---",) * 6
    for job, of in read_constants()["jobs"].items():
        shares = ", ".join(f"{int(n) * share:.2f}" for n, share in of["efficiency"].items())
        seconds = [f"{stage}: {_costs(costs)}" for stage, costs in of["seconds"].items() if _costs(costs)]
        starts = ", ".join(f"{each:.1f}" for each in of["start"].values())
        cells = (starts, shares, "; ".join(seconds), _costs(of["written"]), _costs(of["memory"]))
        yield (f"`{job}`", *cells)


def flink_table(_: dict[str, Sized]) -> Iterator[Sequence[str]]:
    """Yield the rows of the table of what was measured on Flink."""
    yield ("job", "rows", "1 slot, s", "2 slots, s", "4 slots, s", "start on 1, on 2, s", "work on 1, on 2, times")
    yield ("---", *["---:"] * 6)
    for job, of in read_constants()["runners"][FLINK]["jobs"].items():
        times: dict[int, dict[int, str]] = {}
        for run in of["runs"]:
            times.setdefault(run["rows"], {})[run["slots"]] = f"{run['seconds']:.1f}"
        costs = [", ".join(f"{each:.1f}" for each in of[name].values()) for name in ("start", "work")]
        for place, (rows, seconds) in enumerate(times.items()):
            yield (f"`{job}`", f"{rows:,}", *(seconds.get(n, "") for n in (1, 2, 4)), *(costs if place else ["", ""]))


def _costs(costs: dict[str, float]) -> str:
    """Return what amounts cost, those that cost nothing left out."""
    return ", ".join(f"{name} {cost:,.3g}" for name, cost in costs.items() if cost)


TABLES: dict[str, Callable[[dict[str, Sized]], Iterator[Sequence[str]]]] = {
    "jobs": jobs_table,
    "cost": cost_table,
    "spans": spans_table,
    "memory": memory_table,
    "constants": constants_table,
    "flink": flink_table,
}


def render(page: str) -> str:
    """Return the page with its tables as the constants give them."""
    sized = make_sizes()

    def fill(found: re.Match[str]) -> str:
        rows = "\n".join(f"| {' | '.join(cells)} |" for cells in TABLES[found[2]](sized))
        return f"{found[1]}{rows}\n{found[3]}"

    return MARK.sub(fill, page)


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
