"""Write made-up input for a job: people, CURPs and products are drawn from lists, seas and whales are painted, vectors
are random numbers; nothing of it exists. The same options and seed give the same bytes.
"""

import argparse
import os
from collections.abc import Sequence

from molino.jobs.job import SampleInput, load_jobs
from molino.jobs.options import Parser
from molino.transforms.errors import DataError

ABOUT = "write made-up input, to try a job with"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    from molino import quiet
    from molino.jobs.runners import exits

    samples = {name: job.sample for name, job in load_jobs().items() if job.sample}
    lines = [f"  {line}" for sample in samples.values() for line in sample.examples]
    parser = Parser(prog="molino sample", description=__doc__, epilog="\n".join(["examples:", *lines]))
    jobs = parser.add_subparsers(dest="job", required=True, metavar="JOB")
    for name, sample in samples.items():
        own = jobs.add_parser(name, help=sample.about, description=sample.about)
        own.examples = sample.examples[:1]
        sample.add_options(own)
        own.add_argument("--overwrite", action="store_true", help="replace what is at --output")
    args = parser.parse_args(arguments)
    quiet.silence_beam()
    from molino.transforms.files import storage

    if not storage.is_local(args.output):
        parser.error(f"--output {args.output}: a sample is written to a local path")
    sample = samples[args.job]

    def work() -> str:
        _check_target(sample, args)
        with storage.explained(args.output, "write"):
            return sample.write(args)

    with exits.signals_as_exits() as received:
        code, line = exits.attempt(parser, work, received)
    if line:
        print(line)
    return code


def _check_target(sample: SampleInput, args: argparse.Namespace) -> None:
    """Raise OutputExistsError or DataError where a sample cannot be written: in a run, or where something is."""
    from molino.jobs.run.lock import OutputExistsError
    from molino.jobs.run.output import run_above

    output, is_folder = args.output, os.path.isdir(args.output)
    if folder := run_above(os.path.join(os.path.abspath(output), "file")):
        raise OutputExistsError(f"--output {output}: {folder} holds a finished run; write elsewhere")
    if sample.is_folder:
        present = output if is_folder and os.listdir(output) else ""
    else:
        present = next((path for path in sample.paths(args) if os.path.isfile(path)), "")
    if present and not args.overwrite:
        raise OutputExistsError(f"{present} is there; add --overwrite to replace it, or write elsewhere")
    if not sample.is_folder and (is_folder or output.endswith("/")):
        raise DataError(f"cannot write {output}: it is a folder; name a file in it")
    if os.path.lexists(output) and not (is_folder or os.path.isfile(output)):
        raise DataError(f"cannot write {output}: it is no regular file; choose another --output")
