"""Time the titles job against bare TF Hub and against Beam's own transforms: python benchmarks/titles.py.

The job goes from Parquet to Parquet and does all that it does. hub.load embeds: alone, and with the vectors, titles
and categories written as Parquet, but without equal titles found, labels, splits, shuffling, checksums and report.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, Python looks only in this file's folder

from benchmarks import harness, titles_embed  # noqa: E402
from benchmarks.harness import Program, Result  # noqa: E402

if TYPE_CHECKING:
    import pyarrow as pa

PUBLISHED = ROOT.parent / "shared/data/meli/titles.parquet"
ROWS = 670_000
TIMES = 4  # the titles, and so many times as many with their words turned round: so start-up can be told apart
GROUP_ROWS = 1 << 16
HUB_BATCHES = (1024, 16_384, 65_536)  # smaller ones take minutes: see the rates of embedding alone
# of nnlm-{es,en}-dim{50,128}[-with-normalization]
SIZES = {"es": 976_640, "en128": 973_771, "en50": 963_812}
EIGHT = tuple((language, dim, norm) for language in ("es", "en") for dim in (128, 50) for norm in (False, True))
REFERENCE = "molino, 1 core"


def _job(name: str, cores: int, about: str, models: Sequence[str], more: tuple[str, ...] = ()) -> Program:
    given = tuple(word for model in models for word in ("--model", f"{model.replace('-', '_')}={{models}}/{model}"))
    arguments = ("benchmarks/pin.py", str(cores), "-m", "molino", "titles", "--quiet", "--input", "{input}")
    arguments += ("--output", "{output}", "--workers", str(cores), *given, *more)
    return Program(name=name, about=about, arguments=arguments, packages=())


def _hub(batch: int, cores: int = 1, written: str = "nothing") -> Program:
    peer = ("benchmarks/peers/titles_hub.py", "{input}", "{output}", "{models}/es-128-norm", str(batch), str(cores))
    peer += (written,)
    about = f"hub.load on {cores} core{'s' * (cores > 1)}, {batch:,} titles a call; {written} is written"
    name = f"hub.load, {cores} core{'s' * (cores > 1)}, {batch:,}" + ", written" * (written != "nothing")
    return Program(name=name, about=about, arguments=("benchmarks/pin.py", str(cores), *peer), packages=())


def _model_name(language: str, dim: int, normalization: bool) -> str:
    return f"{language}-{dim}-{'norm' if normalization else 'plain'}"


ONE = [_model_name("es", 128, True)]
ALL = [_model_name(*each) for each in EIGHT]
PROGRAMS = (
    _job(REFERENCE, 1, "this job with one model of 976,640 × 128, one worker", ONE),
    _job("molino, 2 cores", 2, "the same with two workers", ONE),
    _job("molino, 1 core, float16", 1, "the same with --vector-type float16", ONE, ("--vector-type", "float16")),
    _job("molino, 1 core, 8 models", 1, "the same with eight models: 712 numbers a title", ALL),
    *(_hub(batch) for batch in HUB_BATCHES),
    _hub(HUB_BATCHES[-1], 2),
    *(_hub(batch, written="parquet") for batch in HUB_BATCHES),
    _hub(HUB_BATCHES[-1], 2, written="parquet"),
)


# --- what is read


def make_titles(data: Path, published: Path | None, rows: int) -> dict[int, Path]:
    """Return two Parquet files of distinct titles with their category in random order, by rows, in the cache."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    if published:
        table = pq.read_table(published, columns=["title", "category"])
        table = table.set_column(1, "category", table["category"].cast(pa.string()))
    else:
        from molino.transforms.titles.sample import sample_titles

        sample_titles(str(data / "titles.csv"), rows=rows * 11 // 10)
        quoted = pa_csv.ParseOptions(newlines_in_values=True)
        table = pa_csv.read_csv(data / "titles.csv", parse_options=quoted).select(["title", "category"])
    table = table.group_by(["title", "category"], use_threads=False).aggregate([])
    table = table.take(pa.array(np.random.default_rng(0).permutation(len(table))[:rows]))
    files = {}
    for part in (table, _turn_words(table)):
        files[len(part)] = data / f"titles-{len(part)}.parquet"
        pq.write_table(part, files[len(part)], row_group_size=GROUP_ROWS)
        harness.load_into_cache(files[len(part)])
    return files


def _turn_words(table: "pa.Table") -> "pa.Table":
    """Return the titles and those that differ from all before by beginning 1, 2, ... words later, in random order."""
    import numpy as np
    import pyarrow as pa

    rows = [dict(zip(table["title"].to_pylist(), table["category"].to_pylist(), strict=True))]
    seen = set(rows[0])
    for turn in range(1, TIMES):
        words = ((title.split(" "), category) for title, category in rows[0].items())
        turned = {" ".join(each[turn:] + each[:turn]): category for each, category in words}
        rows.append({title: category for title, category in turned.items() if title not in seen})
        seen |= set(rows[-1])
    columns = zip(*(pair for each in rows for pair in each.items()), strict=True)
    whole = pa.table(dict(zip(("title", "category"), map(pa.array, columns), strict=True)))
    return whole.take(pa.array(np.random.default_rng(1).permutation(len(whole))))


def make_models(folder: Path, titles: Path, names: Sequence[str]) -> None:
    """Write models of the published sizes that know the titles' tokens, unless they are there."""
    for language, dim, normalization in EIGHT:
        name = _model_name(language, dim, normalization)
        if name in names and not (folder / name).exists():
            rows = SIZES[language if language in SIZES else f"{language}{dim}"]
            # in a process of its own: TensorFlow's memory is given back
            program = (
                "import sys; sys.path.insert(0, '.')\n"
                "import pyarrow.parquet as pq; from benchmarks import titles_embed\n"
                f"titles_embed.TABLE_ROWS = {rows}\n"
                f"titles = pq.read_table({str(titles)!r}, columns=['title'])['title'].to_pylist()\n"
                f"titles_embed.make_model({str(folder / name)!r}, titles, dim={dim}, normalization={normalization})\n"
            )
            subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True)


# --- running


def run_all(
    programs: Sequence[Program], files: Mapping[int, Path], models: Path, data: Path, rounds: int
) -> dict[int, dict[str, Result]]:
    """Run each program on each file, round after round."""
    results: dict[int, dict[str, Result]] = {rows: {program.name: Result() for program in programs} for rows in files}
    warm_up(programs, files, models, data)
    for _ in range(rounds):
        for rows, source in files.items():
            for program in programs:
                run_one(program, results[rows][program.name], rows, source, models, data)
    return results


def warm_up(programs: Sequence[Program], files: Mapping[int, Path], models: Path, data: Path) -> None:
    """Let the job look at its models: what it finds out is kept, and is no part of a run that comes later."""
    for program in programs:
        if program.name.startswith("molino"):
            run_one(program, Result(), min(files), files[min(files)], models, data)


def run_one(program: Program, result: Result, rows: int, source: Path, models: Path, data: Path) -> None:
    """Run a program once and add to its result."""
    output, log = data / "out", data / "log"
    shutil.rmtree(output, ignore_errors=True)
    arguments = [part.format(input=source, output=output, models=models) for part in program.arguments]
    try:
        run = harness.measure([sys.executable, *arguments], log)
    except subprocess.CalledProcessError as error:
        print(log.read_text(errors="replace")[-2000:], file=sys.stderr)
        result.failed = f"failed with exit code {error.returncode}"
        return
    result.runs.append(run)
    result.differs = check(output, log, rows) or result.differs
    print(f"{rows:,} titles, {program.name}: {run.wall:.2f} s, {run.cpu:.2f} CPU s, {harness.megabytes(run.peak)} MB")


def check(output: Path, log: Path, rows: int) -> list[str]:
    """Return what is wrong with the number of titles that a program says it has embedded."""
    import json

    manifest = output / "_manifest.json"
    if manifest.exists():
        found = json.loads(manifest.read_text())["datasets"]["titles"]["rows"]
    else:
        found = int(log.read_text(errors="replace").split(" titles")[0].split()[-1].replace(",", ""))
    return [] if found == rows else [f"{found:,} titles, not {rows:,}"]


# --- telling


def render(
    results: Mapping[int, Mapping[str, Result]],
    rates: Mapping[str, titles_embed.Rate],
    facts: Sequence[str],
    real: bool,
) -> str:
    """Return the section of the results, in Markdown."""
    what = "Real titles in Spanish" if real else "Made-up titles"
    what += ", distinct, in random order; the larger file also has them with their words turned round by 1, 2 and 3"
    parts = ["## titles", "", *facts, "", f"{harness.METHOD} {what}.", ""]
    parts += [f"- {program.name}: {program.about}" for program in PROGRAMS]
    parts += ["", "An earlier run has looked at the models; its findings are kept. CPU seconds of a run include those."]
    for rows, programs in results.items():
        table = harness.results_table(rows, programs, reference=REFERENCE, ratio_to=REFERENCE)
        parts += ["", f"### {rows:,} titles", "", *table]
    parts += [
        "",
        "### What a million titles cost, start-up apart",
        "",
        *harness.slope_table(results, reference=REFERENCE),
    ]
    if rates:
        parts += ["", "### Embedding alone", "", titles_embed.METHOD, "", *titles_embed.table(dict(rates))]
    return "\n".join(parts) + "\n"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rows", type=int, default=ROWS, metavar="N", help="titles at most (default %(default)s)")
    made.add_argument("--sampled", action="store_true", help="made-up titles, even where the published ones are there")
    made.add_argument("--only", nargs="+", metavar="NAME", help="programs whose names begin so")
    made.add_argument("--repeat", type=int, default=2, metavar="N", help="rounds (default %(default)s)")
    made.add_argument("--no-rates", action="store_true", help="leave out embedding alone")
    made.add_argument("--data", type=Path, metavar="DIR", help="keep inputs and models here (default: a temporary one)")
    made.add_argument("--results", type=Path, default=harness.RESULTS, metavar="FILE", help="default: %(default)s")
    return made.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Measure, print the results and write them to their file."""
    given = parse(arguments)
    programs = [p for p in PROGRAMS if not given.only or p.name.startswith(tuple(given.only))]
    packages = ["apache-beam", "pyarrow", "tensorflow", "tensorflow-hub", "numba"]
    real = PUBLISHED.exists() and not given.sampled
    with tempfile.TemporaryDirectory() as temporary:
        data = (given.data or Path(temporary)).resolve()
        (data / "models").mkdir(parents=True, exist_ok=True)
        files = make_titles(data, PUBLISHED if real else None, given.rows)
        wanted = ALL if any("8 models" in program.name for program in programs) else ONE
        make_models(data / "models", files[max(files)], wanted)
        facts = harness.machine_facts(packages, ["python", "benchmarks/titles.py", *arguments])
        results = run_all(programs, files, data / "models", data, given.repeat)
        rates = {} if given.no_rates else titles_embed.measure_all(str(data / "models" / ONE[0]), files[max(files)])
    section = render(results, rates, facts, real)
    print(f"\n{section}", end="")
    before = given.results.read_text(encoding="utf-8") if given.results.exists() else "# Benchmarks\n"
    given.results.write_text(harness.replace_section(before, section), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
