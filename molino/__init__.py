"""Batch jobs on Apache Beam that mill raw public data into Parquet: see docs/architecture.md for its rooms.

From Python: `molino.run` runs a job, `molino.open` opens a finished run: see docs/python.md. Neither is loaded before
it is called, and what reads loads no Beam.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    from molino.jobs.run.lock import BusyError, OutputExistsError
    from molino.training.runs import FinishedRun, RunError
    from molino.transforms.errors import DataError, OptionError

VERSION = "0.2.0"
__version__ = VERSION
__all__ = ["BusyError", "DataError", "FinishedRun", "OptionError", "OutputExistsError", "RunError", "open", "run"]
_PLACES = {
    "BusyError": "molino.jobs.run.lock",
    "DataError": "molino.transforms.errors",
    "FinishedRun": "molino.training.runs",
    "OptionError": "molino.transforms.errors",
    "OutputExistsError": "molino.jobs.run.lock",
    "RunError": "molino.training.runs",
}


def open(folder: str | os.PathLike[str]) -> FinishedRun:
    """Open a finished run: a folder, or a URI of a store: gs://, s3://, hdfs://.

    The manifest is read; a data set's files are compared with it when the set is read. `FinishedRun.verify` reads all.

    Raises:
      RunError: there is none, or it is not finished.
    """
    from molino.training.runs import open_run

    return open_run(folder, {})


def run(job: str, **options: Any) -> FinishedRun:
    """Run a job, or a training such as "train titles", and open its output; where that holds the run, open it at once.

    Options are those of the command line, with _ for -: `molino.run("names", input="sep.txt", output="out")`. True is a
    flag, a list several values, a dict NAME=VALUE for each; None and False are as if they were not there.

    Signals, the garbage collector, exit codes and standard output stay the caller's. One run at a time in a process.

    Raises:
      OptionError: an option is wrong, or there is no such job.
      DataError: the input or the disk does not allow it; the earlier output is untouched.
      OutputExistsError: the output holds another run; BusyError: another run is at work in it.
    """
    from molino.jobs.run.call import call_job

    return open(call_job(job, options))


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
