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

from molino.jobs import names, pca, predict, shapes, titles  # noqa: E402
from molino.jobs.forecast.estimate import Size, forecast, show_bytes, show_time  # noqa: E402
from molino.jobs.run.output import cut  # noqa: E402

PAGE = ROOT / "docs/scale.md"
MARK = re.compile(r"(<!-- table -->\n).*?(<!-- end -->)", re.DOTALL)
ROWS = (10**8, 10**9, 10**10)
FILE_BYTES = 10**9  # of an input file, where there are several
SPAN_BYTES = 16 << 20
LARGE = 1 << 30  # bytes of a span that make fewer pieces
MODEL: Any = {"models": 500_000_000, "amounts": {"numbers": 128, "vectors": 512}}
Sized = Callable[..., Size]


def text_job(module: Any, sample_of: Callable[..., Any], **how: Any) -> Sized:
    """Return what gives the size of a job on so many rows of made-up text, in files of a gigabyte."""
    from molino.jobs.options import text_format
    from molino.jobs.run.text_input import text_input
    from molino.transforms.files.list_files import list_files

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/sample"
        sample_of(path, rows=20_000)
        given = module.parser().parse_strictly(["--input", path, "--output", "out", *how.pop("more", ())])[0]
        text = text_format(given, module.COLUMNS, getattr(module, "OPTIONAL", ()))
        texts = text_input(given, [list_files(path)], text)
    [source] = texts.sources

    def size(rows: int, span_bytes: int = SPAN_BYTES) -> Size:
        total = rows * source.bytes // 20_000
        count = max(1, round(total / FILE_BYTES))
        sources = [dataclasses.replace(source, bytes=total // count + source.start)] * count
        _, shards, _ = cut(total, block_bytes=module.BLOCK_BYTES, shards=None)
        return dataclasses.replace(texts, sources=sources, span_bytes=span_bytes, shards=shards).size(**how)

    return size


def make_sizes() -> dict[str, Sized]:
    """Return what gives the size of each job on so many rows."""
    from molino.transforms.names.sample import sample_names
    from molino.transforms.shapes.points import PROBLEMS, Points
    from molino.transforms.shapes.sweep import expand_sweep, read_sweep
    from molino.transforms.titles.merge import key_titles
    from molino.transforms.titles.sample import sample_titles

    networks, _ = expand_sweep(read_sweep("default"), "default")

    def pca_size(rows: int) -> Size:
        """Vectors of 128 float32, in row groups of 100,000."""
        facts = {"numbers": 128, "rows": rows, "bytes": rows * 512, "type": SimpleNamespace(bit_width=32), "files": [0]}
        how: Any = SimpleNamespace(components=None, vector_type="float32")
        vectors: Any = SimpleNamespace(**facts, spans=lambda **_: range(rows // 100_000))
        return pca.pca_size(vectors, rotation=how, file_bytes=rows * 512)

    def whales_size(images: int) -> Size:
        """Photographs of ten megapixels, with crops."""
        from molino.transforms.images.list_images import MOST_UNIT

        pixels = images * 1e7
        amounts = {"images": images, "pixels": pixels, "pixel": 1e7, "cropped": pixels, "shown": 8e7}
        read = images * 900_000
        return Size(rows=images, read_bytes=read, amounts=amounts, parts={"read": math.ceil(read / MOST_UNIT)})

    def shapes_size(rows: int) -> Size:
        points = Points(kind="generated", rows=rows, seed=1)
        return shapes.shapes_size(networks, points=points, problems=len(PROBLEMS), plots=True)

    return {
        "names": text_job(names, sample_names, dataset="people"),
        "titles": text_job(titles, sample_titles, dataset="titles", keyed=key_titles, **MODEL),
        "predict": text_job(predict, sample_titles, dataset="predictions", more=("--model", "m")),
        "pca": pca_size,
        "whales": whales_size,
        "shapes": shapes_size,
    }


def jobs_table(sized: dict[str, Sized]) -> Iterator[Sequence[str]]:
    """Yield the rows of the table of all jobs."""
    yield ("job", "rows", "read", "shuffle", "written", "memory a worker", "parts", "2 cores", "100 cores")
    yield ("---", *["---:"] * 8)
    for job, size in sized.items():
        noun = {"whales": "images", "shapes": "points"}.get(job, "rows")
        counts = {"whales": (10**6, 10**7), "shapes": ROWS[:2]}.get(job, ROWS)
        sizes = [(f"`{job}`", rows, size(rows)) for rows in counts]
        if job == "names":
            sizes.append((f"`{job}`, `--span-bytes {LARGE}`", ROWS[-1], size(ROWS[-1], span_bytes=LARGE)))
        for label, rows, of in sizes:
            two, hundred = (forecast(job, of, workers=workers) for workers in (2, 100))
            amounts = (two.read_bytes, two.shuffle_bytes, two.written_bytes, two.worker_bytes)
            shown = [show_bytes(amount) if amount else "–" for amount in amounts]
            parts = ", ".join(f"{n:,}" for n in of.parts.values())
            yield (label, f"{rows:,} {noun}", *shown, parts, show_time(two.seconds), show_time(hundred.seconds))


def render(page: str) -> str:
    """Return the page with its table as the constants give it."""
    rows = "\n".join(f"| {' | '.join(cells)} |" for cells in jobs_table(make_sizes()))
    return MARK.sub(lambda found: f"{found[1]}{rows}\n{found[2]}", page)


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
