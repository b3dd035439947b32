"""How much a job has to do, as far as a listing and a small sample of the input tell: nothing is run for it."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

# Arrow and the transforms are imported when an input is looked at: `--help` must not wait for them.
if TYPE_CHECKING:
    from transforms.draw_points import Points
    from transforms.embed import Model
    from transforms.extract_regions import Extraction
    from transforms.list_images import Units
    from transforms.read_vectors import Vectors
    from transforms.sources import Source, TextFormat
    from transforms.take_sample import Sample
    from transforms.train_network import Network


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """What a run is expected to meet. What does not apply to a job is 0 or empty.

    Attributes:
      files: input files, or members of zips.
      bytes: that will be read, unpacked.
      rows: records: rows, images or networks.
      exact: whether the rows were listed, and not reckoned from a sample.
      amounts: what processor time, bytes and memory grow with, by the names that the constants have.
      datasets: rows of data sets that follow from the input alone.
      shuffle: bytes that are brought together, pieces apart.
      batches: each is cut into as many pieces as there are shards, `pieces["write"]`; into fewer where they have no
        rows, and the runner's shuffle carries them.
      by_span: whether larger spans make larger batches; those of Parquet and of quoted text have 65,536 rows.
      piece, message: bytes that a piece costs besides its rows, in a bucket file and in a runner's shuffle.
      pieces: of each stage, how many parts of it can be worked on side by side.
      chunk: bytes of the largest part of the rows that a worker holds at once.
      held: bytes of models that each process holds.
    """

    files: int = 0
    bytes: int = 0
    rows: float
    exact: bool
    amounts: Mapping[str, float]
    datasets: Mapping[str, float] = dataclasses.field(default_factory=dict)
    shuffle: float = 0.0
    batches: int = 0
    by_span: bool = False
    piece: float = 0.0
    message: float = 0.0
    pieces: Mapping[str, int] = dataclasses.field(default_factory=dict)
    chunk: float = 0.0
    held: int = 0


def text_size(
    sources: "Sequence[Source]",
    text: "TextFormat",
    *,
    span_bytes: int,
    shards: int,
    keyed: Callable[..., Any] | None = None,
    amounts: Callable[["Sample", float], Mapping[str, float]] | None = None,
    more: Callable[["Sample", float], float] | None = None,
    held: int = 0,
    sample: "Sample | None" = None,
) -> Size:
    """Return what a job has to do that reads delimited text or Parquet and brings its rows together in shards.

    Args:
      keyed: see `take_sample`.
      amounts: from the sample and the rows to amounts besides `rows` and `shuffle`.
      more: the same, to bytes that a second shuffle brings together.
      held: see Size.
      sample: of records like those of the sources; by default it is taken from them.
    """
    from transforms.quoted import CHUNK_RECORDS
    from transforms.row_groups import BATCH_ROWS
    from transforms.sources import PARQUET, split_sources
    from transforms.take_sample import take_sample

    sample = sample or take_sample(sources, text, keyed)
    tables = sum(rows for source in sources for rows, _ in source.groups)
    texts = sum(source.bytes - source.start for source in sources if source.kind != PARQUET and not source.empty)
    rows = tables + texts * sample.rows_a_byte
    spans = split_sources(sources, span_bytes, quoted=bool(text.quote))
    batches = 0
    for span in spans:
        source = span.source
        if source.kind == PARQUET:
            batches += -(-sum(n for n, _ in source.groups[span.start : span.end]) // BATCH_ROWS)
        elif text.quote:
            batches += max(1, math.ceil((span.end - span.start) * sample.rows_a_byte / CHUNK_RECORDS))
        else:
            batches += 1 if source.kind == "plain" else -(-(span.end - span.start) // span_bytes)
    shuffle, total = rows * sample.row_bytes, sum(source.bytes for source in sources)
    return Size(
        files=len(sources),
        bytes=total,
        rows=rows,
        exact=not texts,
        amounts={"rows": rows, "shuffle": shuffle, **(amounts(sample, rows) if amounts else {})},
        shuffle=shuffle + (more(sample, rows) if more else 0.0),
        batches=batches,
        by_span=not text.quote and not tables,
        piece=sample.piece,
        message=sample.message,
        pieces={"read": len(spans), "reduce": shards, "write": shards, "finish": 1},
        # a worker holds a shard, or the span that it reads
        chunk=shuffle * max(1 / shards, min(1.0, span_bytes / max(1, total))),
        held=held,
    )


def names_size(sources: "Sequence[Source]", text: "TextFormat", *, shards: int, **how: Any) -> Size:
    """Return what the names job has to do: its second shuffle carries the distinct names of each shard."""
    from transforms.people import NAMES
    from transforms.take_sample import grown_distinct

    def counts(sample: "Sample", rows: float) -> float:
        named = sum(grown_distinct([batch[name] for batch in sample.rows], rows / shards) for name in NAMES)
        return shards * named * NAME_BYTES

    return text_size(sources, text, shards=shards, more=counts, **how)


NAME_BYTES = 72  # of a row of transforms.count_names.COUNTS: eight numbers, and a name


def titles_size(
    sources: "Sequence[Source]", text: "TextFormat", *, models: "Sequence[Model]", number_bytes: int, **how: Any
) -> Size:
    """Return what the titles job has to do.

    Args:
      number_bytes: of each number of a vector.
    """
    from transforms.titles import key_titles

    def amounts(sample: "Sample", rows: float) -> dict[str, float]:
        numbers = rows * sum(model.dim for model in models)
        return {"numbers": numbers, "vectors": numbers * number_bytes, "text": rows * sample.text_bytes("title")}

    held = sum(model.bytes for model in models)
    return text_size(sources, text, keyed=key_titles, amounts=amounts, held=held, **how)


def predict_size(sources: "Sequence[Source]", text: "TextFormat", **how: Any) -> Size:
    """Return what the predict job has to do."""

    def amounts(sample: "Sample", rows: float) -> dict[str, float]:
        return {"text": rows * sample.text_bytes("title")}

    return text_size(sources, text, amounts=amounts, **how)


def pca_size(vectors: "Vectors", *, components: int | None, vector_type: str, file_bytes: int) -> Size:
    """Return what the pca job has to do; where an error decides how many components there are, all are reckoned with.

    Args:
      file_bytes: of the input files as they lie there.
    """
    numbers, rows = vectors.numbers, vectors.rows
    spans = len(vectors.spans(sample=0, seed=0))
    read = vectors.type.bit_width // 8 * rows * numbers
    written = int(vector_type.removeprefix("float")) // 8 * rows * (components or numbers)
    return Size(
        files=len(vectors.files),
        bytes=vectors.bytes,
        rows=rows,
        exact=True,
        amounts={
            "rows": rows,
            "numbers": rows * numbers,
            "squares": rows * numbers**2,
            "vectors": written,
            "carried": max(0, file_bytes - read),
            "table": numbers**2 * 8,
        },
        datasets={"vectors": rows},
        pieces={"read": spans, "write": spans, "finish": 1},
    )


def whales_size(units: "Units", how: "Extraction", most: int) -> Size:
    """Return what the whales job has to do: all images are listed, and the headers of some are read.

    Args:
      most: images in the report.
    """
    import pyarrow.compute as pc

    from transforms.decode_image import ImageError, read_header
    from transforms.read_images import read_images
    from transforms.take_sample import SAMPLES

    images = units.images.num_rows
    pixels = []
    for place in sorted({i * images // SAMPLES for i in range(SAMPLES)} if images else ()):
        # of a Parquet shard the first image of the row group: reading ends there
        image = next(read_images(units.images.slice(place, 1), how.columns, max_bytes=how.max_bytes))
        with contextlib.suppress(ImageError):
            header = read_header(image.data)
            pixels.append(header.width * header.height)
    return images_size(
        images,
        how,
        most=most,
        files=pc.count_distinct(units.images["path"]).as_py(),
        bytes_=pc.sum(units.images["bytes"]).as_py() or 0,
        pixels=sum(pixels) / max(1, len(pixels)),
        units=units.count,
    )


THUMBNAIL_PIXELS = 40_000  # of the report's pictures at most, about


def images_size(
    images: int, how: "Extraction", *, most: int, files: int, bytes_: int, pixels: float, units: int
) -> Size:
    """Return what images of so many pixels each give the whales job to do, in so many work units."""
    return Size(
        files=files,
        bytes=bytes_,
        rows=images,
        exact=True,
        amounts={
            "images": images,
            f"pixels.{how.method}": images * pixels,
            "cropped": images * pixels if how.crop_quality else 0.0,
            "shown": min(images, most) * min(pixels, THUMBNAIL_PIXELS),
            "square": images * how.crop_size**2 * 3,
        },
        pieces={"list": 1, "read": units, "finish": 1},
        chunk=3 * pixels,
    )


def shapes_size(networks: "Sequence[Network]", *, points: "Points", problems: int, plots: bool) -> Size:
    """Return what the shapes job has to do."""
    tested = points.count("test")
    split = points.rows + points.count("validation") + tested
    return Size(
        rows=len(networks),
        exact=True,
        amounts={
            "networks": len(networks),
            "pictures": len(networks) if plots else 0,
            "training": sum(network.nanoseconds for network in networks) / 1e9,
            "asked": len(networks) * split,
            "points": problems * split,
            "predictions": len(networks) * tested,
            "split": split,
        },
        datasets={"points": problems * split, "runs": len(networks), "predictions": len(networks) * tested},
        pieces={"read": len(networks), "finish": 1},
    )
