"""Points of a square and six shapes that they may lie in, and small networks that learn the shapes: every network of a
sweep is trained, tested and drawn, and the report shows them side by side.

A sweep is a list of networks: default (126 networks: 42, with three seeds each), study (the 204 of
the published study), or a YAML file of your own.

examples:
  molino shapes --output demo/shapes
  molino shapes --output out --problem ring cos=12
  molino shapes --output out --points study --sweep study --workers 2
  molino shapes --output out --sweep sweeps/figures.yaml --points study
"""

import argparse
import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from molino.jobs.job import Example, Job, Plan
from molino.jobs.options import Parser, natural, whole
from molino.transforms.errors import OptionError
from molino.transforms.warnings import DataWarning

if TYPE_CHECKING:
    import apache_beam as beam

    from molino.jobs.forecast.estimate import Size
    from molino.jobs.run.runs import Run
    from molino.transforms.shapes.points import Points, Problem
    from molino.transforms.shapes.train_network import Network


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(prog="molino shapes", description=__doc__)
    made.add_run_options(inputs="", shuffles=False)
    points = made.add_argument_group("points")
    about = "generated (default): by a seed; study: the published study's own, bit for bit"
    points.choice("--points", ("generated", "study"), about)
    about = "training points; plus a twentieth each for validation and test"
    points.option("--rows", "N", whole(1, 1_000_000_000, "positive"), about, 200_000)
    points.option("--seed", "N", natural, "of generated points", 1)
    networks = made.add_argument_group("networks")
    networks.option("--sweep", "NAME", str, "default, study, or a YAML file (default: default)", "default")
    about = "only these problems of the sweep; R sets another radius or frequency"
    networks.option("--problem", "NAME[=R]", named_problem, about, default=[], nargs="+")
    out = made.add_argument_group("what to write")
    out.switch("--no-plots", "no pictures, neither in plots/ nor in the report")
    out.switch("--timings", "fill the column of seconds; it differs from run to run")
    return made


def named_problem(text: str) -> str:
    """Parse NAME or NAME=R, which is read when the run starts."""
    if not text.partition("=")[0]:
        raise argparse.ArgumentTypeError(f"must be NAME or NAME=R, not {text!r}")
    return text


def plan(args: argparse.Namespace, _: Sequence) -> Plan:
    """Read the sweep and return what the run will do."""
    import molino.transforms.shapes.one_layer  # noqa: F401  what it needs is missed here, not by a worker
    from molino.schemas.shapes import POINTS, PREDICTIONS, RUNS
    from molino.transforms.shapes.points import parse_problem
    from molino.transforms.shapes.sweep import choose_problems, expand_sweep, read_sweep

    points = chosen_points(args)
    blocks = read_sweep(args.sweep)
    if args.problem:
        try:
            wanted = list(dict.fromkeys(map(parse_problem, args.problem)))
        except ValueError as error:
            raise OptionError(f"--problem: {error}") from None
        blocks = choose_problems(blocks, wanted)
    networks, again = expand_sweep(blocks, args.sweep)
    largest = max(network.batch for network in networks)
    if largest >= points.rows:
        what = f"a batch of {largest:,} in the sweep {args.sweep}"
        raise OptionError(f"{what} needs more training points than --rows {points.rows:,}")
    repeated = f"networks of the sweep that are there before, trained once: {again:,}"
    switches = {"plots": not args.no_plots, "timings": args.timings}
    problems = list(dict.fromkeys(network.problem for network in networks))
    return Plan(
        job="shapes",
        options={"points": dataclasses.asdict(points), "sweep": [dict(block) for block in blocks], **switches},
        datasets={"points": POINTS, "runs": RUNS, "predictions": PREDICTIONS},
        balance=("networks", ("runs",)),
        counted=("points", "runs", "predictions"),
        build=functools.partial(build, points=points, problems=problems, networks=networks, switches=switches),
        warnings=[DataWarning("sweep.repeated", repeated, again)] if again else [],
        total_bytes=sum(max(1, network.nanoseconds) for network in networks),
        noun="networks",
        stages={"read": "training"},
        size=functools.partial(shapes_size, networks, points=points, problems=len(problems), plots=not args.no_plots),
    )


def chosen_points(args: argparse.Namespace) -> "Points":
    """Return which points are drawn."""
    from molino.transforms.shapes.points import STUDY, STUDY_ROWS, Points

    study = args.points == STUDY
    if study and args.rows > STUDY_ROWS:
        raise OptionError(f"--rows {args.rows:,}: the study has {STUDY_ROWS:,} training points")
    if study and args.seed != parser().get_default("seed"):
        raise OptionError("--seed has no effect with --points study, whose points have fixed seeds")
    return Points(kind=args.points, rows=args.rows, seed=0 if study else args.seed)


def build(
    pipeline: "beam.Pipeline",
    run: "Run",
    *,
    points: "Points",
    problems: "Sequence[Problem]",
    networks: "Sequence[Network]",
    switches: dict[str, bool],
) -> None:
    """Add the job to a pipeline."""
    import apache_beam as beam

    from molino.jobs.run.publish import Publish
    from molino.schemas.shapes import POINTS, RUNS
    from molino.transforms.parquet.do_once import DoOnce
    from molino.transforms.parquet.scratch import GatherScratch
    from molino.transforms.parquet.shards import Layout
    from molino.transforms.parquet.views import WriteViews
    from molino.transforms.parquet.write import WriteParquet
    from molino.transforms.shapes.points import SPLITS, make_shard
    from molino.transforms.shapes.report import write_shapes_report
    from molino.transforms.shapes.run_network import RUN_CARDS, run_network

    shards = [
        ((place, SPLITS.index(split), block), problem, split, block)
        for place, problem in enumerate(problems)
        for split in SPLITS
        for block in points.blocks(split)
    ]
    drawn = (
        pipeline
        | "Shards" >> beam.Create(shards, reshuffle=False)
        | "SpreadShards" >> beam.Reshuffle()
        | "Draw" >> beam.Map(make_shard, points=points)
        | "Points"
        >> WriteParquet(schema=POINTS, folder=run.staging, dataset="points", layout=Layout(plain=("row", "x", "y")))
    )
    # those that take longest first
    units = [(f"{place:06d}", (place, network)) for place, network in enumerate(networks)]
    units.sort(key=lambda unit: -unit[1][1].nanoseconds)
    done = (
        pipeline
        | "Networks" >> beam.Create(units, reshuffle=False)
        | "Spread" >> beam.Reshuffle()
        | "Train" >> DoOnce(work=run_network, folder=run.units, arguments={"points": points, **switches})
    )
    known = {"networks": len(networks), "points": len(problems) * sum(points.count(split) for split in SPLITS)}
    counters = (done.counters, pipeline | "Known" >> beam.Create([known])) | "Counters" >> beam.Flatten()
    gather = GatherScratch(scratch=RUN_CARDS, dataset="runs", schema=RUNS, folder=run.staging, merge=True)
    runs = done.scratch | "Runs" >> gather
    report = done.scratch | "Report" >> WriteViews(call=write_shapes_report, run=run, counters=counters, gather=True)
    files = (done.files, drawn, runs, report.files) | "Files" >> beam.Flatten()
    files | "Publish" >> Publish(run=run, counters=counters)


def shapes_size(networks: "Sequence[Network]", *, points: "Points", problems: int, plots: bool) -> "Size":
    """Return what the shapes job has to do."""
    from molino.jobs.forecast.estimate import Size

    many, tested = len(networks), points.count("test")
    split = points.rows + points.count("validation") + tested
    rows = {"points": problems * split, "predictions": many * tested}
    seconds = sum(network.nanoseconds for network in networks) / 1e9
    return Size(
        rows=many,
        datasets={"points": rows["points"], "runs": many, "predictions": rows["predictions"]},
        amounts={**rows, "networks": many, "pictures": many if plots else 0, "training": seconds, "split": split},
        parts={"train": many},
    )


def summarize(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines of the summary."""
    counters = manifest["counters"]
    resumed, diverged = counters.get("units.resumed", 0), counters.get("diverged", 0)
    return [
        ("networks", f"{counters['networks']:,}" + (f", {diverged:,} diverged" if diverged else "")),
        ("points", f"{counters['points']:,}"),
        ("predictions", f"{counters['predictions']:,}"),
        *([("resumed", f"{resumed:,} of {counters['units']:,} networks")] if resumed else []),
    ]


JOB = Job(
    name="shapes",
    about="networks that learn shapes of the plane, in sweeps",
    parser=parser,
    plan=plan,
    summarize=summarize,
    example=Example(options="--sweep {tree}/sweeps/demo.yaml --rows 4000"),
    extra="shapes",
    packages=["numba", "llvmlite"],
)
