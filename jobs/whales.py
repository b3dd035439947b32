"""The whale in every aerial photograph: its box, its mask and its crop, as rows of Parquet, a CSV, and a contact sheet.

Most of a photograph is plain water; the region is what differs most from it. Images that cannot be decoded are listed
in rejects/ with the reason; images in which nothing is found are rows without a box. A box does not mean that there is
an animal: see the column presence.

examples:
  molino sample whales --output demo/sea
  molino whales --input demo/sea/images --output demo/whales
  molino whales --input demo/sea/images --output demo/heads --method saliency --crop-size 224
  molino whales --input 'shards/*.tar' --output out --method fast --crop-quality 0 --workers 8
"""

import argparse
import contextlib
import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from molino.jobs.job import Example, Job, Plan, SampleInput
from molino.jobs.options import (
    Options,
    Parser,
    check_kept,
    format_rejects,
    natural,
    place,
    positive,
    read_options,
    whole,
)
from molino.transforms.errors import DataError, OptionError
from molino.transforms.warnings import DataWarning, example_of, warning_of_skipped

if TYPE_CHECKING:
    import apache_beam as beam

    from molino.jobs.forecast.estimate import Size
    from molino.jobs.run.runs import Run
    from molino.transforms.files.list_files import Listing
    from molino.transforms.images.list_images import Units
    from molino.transforms.whales.extract import Extraction

METHODS = ("original", "fast", "saliency")
SAMPLES = 8  # images whose headers are looked at for a plan
THUMBNAIL_PIXELS = 40_000  # of the report's pictures at most, about


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(prog="molino whales", description=__doc__)
    made.add_run_options(inputs="folders, globs, files, .tar or .parquet shards; also gs://, s3://", shuffles=False)
    made.add_argument_group("which photographs").option(
        "--include", "GLOB", str, "only files and members of tars that match, such as '*.jpg'", default=[], nargs="+"
    )
    where = made.add_argument_group("Parquet shards")
    where.option("--name-column", "NAME", str, 'of the names; "a.b" for the field b of a (default: found)')
    where.option("--bytes-column", "NAME", str, "of the images' bytes (default: found, as image.bytes and jpg)")
    where.add_keep(
        "columns of the shards, of folders called COL=VALUE, or texts beside an image in a tar, by their ending (txt, "
        "json), to carry to the output"
    )
    _add_method_options(made.add_argument_group("how to find the region"))
    _add_output_options(made.add_argument_group("what to write"))
    return made


def _add_method_options(how: Options) -> None:
    how.choice(
        "--method",
        METHODS,
        "original (default): the published algorithm, exactly; fast: about the same at a reduced size; "
        "saliency: a box around the head, of a share that you choose",
    )
    how.option("--share", "R", float, "saliency: of the image", 0.15)
    how.switch("--anywhere", "saliency: for photographs that were not aimed; do not prefer the middle")
    how.option("--bins", "N", positive, "of each colour channel", 16)
    how.option("--threshold", "R", float, "correlation with the whole image below which a part is marked", 0.25)
    how.option("--smallest", "PX", positive, "a part with a shorter side is not divided", 10)
    how.option("--kernel", "PX", positive, "side of the square that a mark must hold", 40)
    how.option(
        "--max-pixels",
        "N",
        positive,
        "larger images are rejects (default 160 M). All workers of a process together hold one image, or 160 M "
        "pixels: 3 bytes a pixel, 6 of a PNG, 9 of a progressive JPEG; at 160 M that is 0.5, 0.9 and 1.4 GB",
        default=160_000_000,
    )
    how.option("--max-bytes", "N", positive, "larger files are rejects (default 250 M)", 250_000_000)
    how.choice(
        "--damaged",
        ("reject", "keep"),
        "photographs with wrong pixels, by the decoder: reject (default), or keep as rows with damaged set",
    )


def _add_output_options(out: Options) -> None:
    out.option("--crop-quality", "Q", whole(0, 100, "natural"), "of the crop's JPEG, 1 to 100; 0 writes no crop", 90)
    out.option("--crop-size", "N", whole(0, 4096, "natural"), "add N by N RGB pixels for training (default 0: none)", 0)
    out.choice("--mask", ("none", "png", "rle"), "add the mask (default none)")
    out.switch("--write-crops", "write every crop as a file too, under the name of its photograph")
    out.switch("--write-images", "write the four files of the published program for every image")
    out.add_csv()
    out.switch("--timings", "fill the columns of times; they differ from run to run")
    out.option("--report-images", "N", natural, "in the contact sheet (default 2000; 0: none)", 2000)


def list_inputs(args: argparse.Namespace) -> list["Listing"]:
    """Return what the folders, globs and paths of `--input` name."""
    from molino.jobs.run.inputs import find_inputs

    return find_inputs(args.input, photographs=True, follow_links=args.follow_links)


def plan(args: argparse.Namespace, listings: Sequence["Listing"]) -> Plan:
    """Look at the inputs and return what the run will do."""
    import pyarrow as pa

    from molino.schemas import field
    from molino.schemas.rejects import REJECTS
    from molino.schemas.whales import KEPT_DOC
    from molino.transforms.images.list_images import list_images

    how = extraction(args)
    pictures = how.write_crops or how.write_images
    units = list_images(listings, how.columns, include=how.include, pictures=pictures)
    sources = {name: column for column, name in args.keep}
    kept = [field(one.name, one.type, KEPT_DOC.format(sources[one.name]), nullable=True) for one in units.kept]
    how = dataclasses.replace(how, kept=pa.schema(kept))
    check_kept(how.schema, kept)
    if not units.images.num_rows and not args.allow_empty:
        skipped = "".join(f"; {warning}" for warning in _skipped(units))
        if apart := units.skipped.get("not_included"):
            skipped += f"; --include leaves out {apart:,}, such as {example_of(units.skipped, 'not_included')}"
        raise DataError(f"no input holds an image{skipped}; check the paths, or add --allow-empty")
    text = f"photographs in Parquet whose names are null or repeat are named after their rows: {units.unnamed:,}"
    example, remedy = example_of({"": units.unnamed}, ""), "another column of names: --name-column COL"
    unnamed = [DataWarning("whales.unnamed", text, int(units.unnamed), example, remedy)] if units.unnamed else []
    shown = dataclasses.asdict(how)
    return Plan(
        job="whales",
        options=shown | {"report_images": args.report_images, "csv": args.csv},
        datasets={"regions": how.schema, "rejects": REJECTS},
        balance=("images_read", ("regions", "rejects")),
        counted=("regions", "rejects"),
        build=functools.partial(build, extraction=how, units=units, most=args.report_images),
        warnings=[*_skipped(units), *unnamed],
        warn=[warn_of_photographs],
        total_bytes=sum(units.images["bytes"].to_pylist()),
        units_by_content=True,
        noun="images",
        stages={"read": "finding regions"},
        size=functools.partial(whales_size, units, how, args.report_images),
    )


def _skipped(units: "Units") -> list:
    told = sorted(units.skipped.keys() & SKIPPED)
    return [warning_of_skipped(units.skipped, reason, SKIPPED[reason]) for reason in told]


def warn_of_photographs(counters: Mapping[str, int]) -> list:
    """Return what is doubtful about the rows of a run."""
    told = {
        "damaged": ("damaged photographs are rows, by --damaged keep: {:,}", "leave out the rows with damaged set"),
        "several": ("files of several pictures, of which the first was read: {:,}", "split them, if the others count"),
        "gray": ("photographs in shades of gray, of which presence cannot tell: {:,}", "look at these yourself"),
    }
    return [
        DataWarning(f"whales.{name}", text.format(counters[name]), counters[name], example_of(counters, name), remedy)
        for name, (text, remedy) in told.items()
        if counters.get(name)
    ]


SKIPPED = {  # what is warned of; what --include leaves out is only counted
    "hidden": "hidden files and folders (their names begin with a dot)",
    "link": "symbolic links (what they lead to is read where it lies, or by --follow-links)",
    "special": "pipes, sockets or devices",
    "no_photograph": "what is no photograph by its name (records, videos, files of programs)",
    "raw": "raw files beside a photograph of the same name",
    "failed_download": "rows of downloads that failed (by their column status)",
    "replaced": "members of a tar that later ones of the same name replace",
}


def extraction(args: argparse.Namespace) -> "Extraction":
    """Return what is done with each image."""
    import pyarrow as pa

    from molino.transforms.images.shard_columns import ShardColumns
    from molino.transforms.whales.extract import Extraction
    from molino.transforms.whales.find_region import OriginalOptions
    from molino.transforms.whales.find_salient_region import SalientOptions

    if args.write_crops and not args.crop_quality:
        raise OptionError("--write-crops needs crops; --crop-quality 0 makes none")
    parameters = {name: getattr(args, name) for name in ("bins", "threshold", "smallest", "kernel")}
    useless = parameters if args.method == "saliency" else {"share": args.share, "anywhere": args.anywhere}
    for name, value in useless.items():
        if value != parser().get_default(name):
            raise OptionError(f"--{name} has no effect with --method {args.method}")
    if args.method == "saliency" and args.write_images:
        raise OptionError("--write-images is not for --method saliency: it writes the published program's files")
    try:
        salient = SalientOptions(share=args.share)
        if args.anywhere:
            salient = dataclasses.replace(salient, centre=100.0, toward_centre=0.0)
        made = salient if args.method == "saliency" else OriginalOptions(**parameters)
    except ValueError as error:
        raise OptionError(f"--{error}") from None
    columns = ShardColumns(name=args.name_column, data=args.bytes_column, keep=tuple(args.keep))
    more = {"parameters": made, "thumbnails": args.report_images > 0, "columns": columns, "kept": pa.schema([])}
    more["include"] = tuple(args.include)
    return read_options(Extraction, args, **more)


def build(pipeline: "beam.Pipeline", run: "Run", *, extraction: "Extraction", units: "Units", most: int) -> None:
    """Add the job to a pipeline."""
    import apache_beam as beam

    from molino.jobs.run.publish import Publish
    from molino.schemas.rejects import REJECTS
    from molino.transforms.files import storage
    from molino.transforms.images.list_images import write_units
    from molino.transforms.parquet.do_once import DoOnce
    from molino.transforms.parquet.scratch import GatherScratch
    from molino.transforms.parquet.views import WriteViews
    from molino.transforms.whales.extract import extract_unit, extract_unit_apart
    from molino.transforms.whales.report import write_sheet_and_boxes

    listing = storage.join(run.staging, "images.parquet")
    write_units(units, listing)
    names = [hashlib.sha256(f"{run.work} {content}".encode()).hexdigest()[:32] for content in units.contents()]
    numbered = [(name, number) for number, name in enumerate(names)]
    extract = DoOnce(
        work=extract_unit,
        careful=extract_unit_apart,
        folder=run.units,
        arguments={"listing": listing, "extraction": extraction},
        output=run.output,
        parent=run.parent,
    )
    spread = pipeline | "Units" >> beam.Create(numbered, reshuffle=False) | "Spread" >> beam.Reshuffle()
    done = spread | "Extract" >> extract
    known = {"images_read": units.images.num_rows, "unnamed": units.unnamed}
    known |= {f"skipped.{reason}": n for reason, n in units.skipped.items()}
    counters = (done.counters, pipeline | "Known" >> beam.Create([known])) | "Counters" >> beam.Flatten()
    gather = GatherScratch(scratch="_rejects", dataset="rejects", schema=REJECTS, folder=run.staging)
    rejects = done.scratch | "Rejects" >> gather
    write = functools.partial(write_sheet_and_boxes, most=most)
    sheet = WriteViews(call=write, run=run, counters=counters, gather=True)
    report = done.scratch | "Report" >> sheet
    files = (done.files, rejects, report.files) | "Files" >> beam.Flatten()
    files | "Publish" >> Publish(run=run, counters=report.counters)


def whales_size(units: "Units", extraction: "Extraction", most: int) -> "Size":
    """Return what the whales job has to do; at most so many images are in the report. Reads the headers of a few."""
    import pyarrow.compute as pc

    from molino.jobs.forecast.estimate import Size
    from molino.transforms.images.decode import ImageError, read_header
    from molino.transforms.images.read_images import read_images

    images, pixels = units.images.num_rows, []
    for number in sorted({i * images // SAMPLES for i in range(SAMPLES)} if images else ()):
        # of a Parquet shard the first image of the row group: reading ends there
        image = next(read_images(units.images.slice(number, 1), extraction.columns, max_bytes=extraction.max_bytes))
        with contextlib.suppress(ImageError):
            header = read_header(image.data)
            pixels.append(header.width * header.height)
    mean = sum(pixels) / max(1, len(pixels))
    return Size(
        rows=images,
        datasets={"regions": images},
        files=pc.count_distinct(units.images["path"]).as_py(),
        read_bytes=pc.sum(units.images["bytes"]).as_py() or 0,
        amounts={
            "images": images,
            "pixels": images * mean,
            "pixel": mean,
            "cropped": images * mean if extraction.crop_quality else 0.0,
            "shown": min(images, most) * min(mean, THUMBNAIL_PIXELS),
            "square": images * extraction.crop_size**2 * 3,
        },
        parts={"read": units.count},
    )


def summarize(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines of the summary: what was read, and what became of it."""
    counters = manifest["counters"]
    nothing = {name: n for name, n in counters.items() if name.startswith("status.") and name != "status.found"}
    without = ", ".join(f"{n:,} {name.removeprefix('status.')}" for name, n in sorted(nothing.items()) if n)
    resumed, apart = counters.get("units.resumed", 0), counters.get("skipped.not_included", 0)
    images, taken = counters.get("images_read", 0), counters.get("units.rows_taken_over", 0)
    return [
        ("images read", f"{images:,}" + (f"; --include left out {apart:,}" if apart else "")),
        ("animals", f"{counters.get('present', 0):,} with a presence of 0.5 or more"),
        ("boxes", f"{counters.get('status.found', 0):,}"),
        ("no box", f"{sum(nothing.values()):,}" + (f" ({without})" if without else "")),
        ("rejects", format_rejects(counters)),
        ("duplicates", f"{counters.get('duplicates', 0):,} images have the bytes of another"),
        *([("resumed", f"{resumed:,} of {counters.get('units', 0):,} work units")] if resumed else []),
        *([("taken over", f"{taken:,} of {images:,} images, from the run that was there")] if taken else []),
    ]


def add_sample_options(parser: Parser) -> None:
    """Add the options of `molino sample whales`."""
    parser.option("--output", "DIR", place, "folder; gets images/ and truth.parquet", required=True)
    parser.option("--images", "N", positive, "images", 40)
    parser.option("--seed", "N", natural, "of the random numbers (default 2015)", 2015)
    parser.option("--width", "PX", positive, "of each image (default 1500)", 1500)
    parser.option("--height", "PX", positive, "of each image (default 1000)", 1000)
    parser.switch("--hostile", "add files that a job must reject, skip or survive")


def write_sample(args: argparse.Namespace) -> str:
    """Write made-up input and return a line for the user."""
    from molino.transforms.whales.sample import sample_whales

    if args.width * args.height > 100_000_000:
        raise OptionError(f"--width {args.width} and --height {args.height}: at most 100,000,000 pixels are drawn")
    wrote = sample_whales(
        args.output, images=args.images, seed=args.seed, width=args.width, height=args.height, hostile=args.hostile
    )
    hostile = f"; {sum(map(len, wrote['hostile'].values()))} hostile files besides" if args.hostile else ""
    return f"{wrote['images']:,} images, {wrote['whales']:,} with a whale, in {wrote['folder']}{hostile}"


JOB = Job(
    name="whales",
    about="the region of interest of every photograph",
    parser=parser,
    plan=plan,
    summarize=summarize,
    list_inputs=list_inputs,
    sample=SampleInput(
        about="aerial photographs of a sea, most with a whale, and the true boxes",
        examples=["molino sample whales --output demo/sea --images 40"],
        add_options=add_sample_options,
        write=write_sample,
        is_folder=True,
    ),
    example=Example(inputs=["sample whales --images 6 --output sea"], options="--input sea/images"),
    extra="images",
    packages=["cv2", "simplejpeg", "numba", "llvmlite"],
)
