"""A job's run from Python: the checks of the command, its messages as exceptions, and nothing else of it."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from molino import environment
from molino.jobs.job import Job, load_all
from molino.jobs.options import Parser, did_you_mean
from molino.jobs.runners import exits
from molino.jobs.runners.failures import explain_failure
from molino.transforms.errors import DataError, OptionError


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
        from molino.jobs.run.command import do_order, take_order  # they load Arrow, and Beam when they need it

        args, beam_flags = parser.parse_strictly(to_words(options, parser))
        try:
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
