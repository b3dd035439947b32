"""A job's run, from the command line, or from Python: with the command's checks, and its messages as exceptions."""

import gc
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from molino import code, environment, quiet
from molino.jobs.job import Job, load_all
from molino.jobs.options import DONE, EXISTS, Parser, did_you_mean
from molino.jobs.runners import exits
from molino.jobs.runners.failures import explain_failure
from molino.transforms.errors import DataError, OptionError
from molino.transforms.files.temporary import check_temporary_files

GARBAGE_OBJECTS = 100_000  # new ones before Python looks for garbage


def run_command(job: Job, arguments: Sequence[str] | None = None) -> int:
    """Parse a command line, run the job, print the summary, and return the exit code.

    What the user did wrong, and what the input or the disk does not allow, ends in one line on standard error.
    """
    started = time.time()
    # what a run makes is held in large arrays, and imports make objects that stay: a tenth of a short run is saved
    gc.set_threshold(GARBAGE_OBJECTS)
    environment.prepare()
    quiet.silence_beam()
    parser = job.parser()
    parser.examples = job.examples(parser)
    args, beam_flags = parser.parse_strictly(arguments)

    def work() -> list[str]:
        if job.name in code.pipelines():
            check_temporary_files()  # without which Beam is not even imported
            import_beam()
        from molino.jobs.run.command import do_order, take_order  # they load Arrow, and Beam when they need it

        return do_order(take_order(job, args, beam_flags, started=started))

    with exits.signals_as_exits() as received:
        status, lines = exits.attempt(parser, work, received)
        if status not in (DONE, EXISTS):
            exits.leave(status)
    for line in lines or ():
        print(line)
    gc.freeze()  # at the end Python would look for garbage among all that it is about to drop: up to a second
    return status


def import_beam() -> None:
    """Import Beam and Arrow in a process of this program alone, without what they find only to offer more."""
    with quiet.without(("pandas", "pymongo")):  # a quarter of a second
        import apache_beam.options.pipeline_options  # noqa: F401
        import pyarrow as pa

        pa.array([0])  # looks for pandas once


def call_job(name: str, options: Mapping[str, Any]) -> str:
    """Run a job, unless its output already holds this very run, and return the output's folder.

    Options are as on the command line, but with _ for -: True is a flag, a sequence several values, a mapping
    NAME=VALUE for each; None and False are as if they were not there. Raises OptionError where there is no such job, or
    what is asked for cannot be; and with whatever else the command ends.
    """
    job = find_job(name)
    parser = job.parser()
    parser.raises = True
    with exits.as_guest():
        environment.prepare()
        args, beam_flags = parser.parse_strictly(to_words(options, parser))
        try:
            from molino.jobs.run.command import do_order, take_order

            order = take_order(job, args, beam_flags)
            do_order(order)
        except Exception as error:
            known = isinstance(error, DataError | OptionError) or hasattr(error, "exit_code")
            if not known and (line := explain_failure(error)):  # as a runner tells what a worker raised
                raise DataError(line) from error
            raise
        return order.run.output


def find_job(name: str) -> Job:
    """Return a job or a training by its command."""
    jobs = load_all()
    if name not in jobs:
        raise OptionError(f"there is no job {name!r}{did_you_mean(name, jobs)}; there are: {', '.join(jobs)}")
    return jobs[name]


def to_words(options: Mapping[str, Any], parser: Parser) -> list[str]:
    """Return options as the words of a command line; a name that the parser does not know is taken for one of Beam's.

    >>> from molino.jobs.names import parser
    >>> to_words({"input": ["a.txt", "b.txt"], "min_count": 2, "quiet": True, "shards": None}, parser())
    ['--input', 'a.txt', 'b.txt', '--min-count=2', '--quiet']
    """
    known = {flag: action for action in parser._actions for flag in action.option_strings}
    words: list[str] = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        action, flag = (known[flag], flag) if flag in known else (None, f"--{name}")
        if isinstance(value, Mapping):
            value = [f"{key}={_word(one)}" for key, one in value.items()]
        if value is None or value is False:
            continue
        if value is True:
            words.append(flag)
        elif isinstance(value, str | os.PathLike) or not isinstance(value, Iterable):
            words.append(f"{flag}={_word(value)}")
        elif action is not None and action.nargs is None:  # given once for each
            words += [f"{flag}={_word(one)}" for one in value]
        else:
            words += [flag, *map(_word, value)]
    return words


def _word(value: Any) -> str:
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)
