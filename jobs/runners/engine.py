"""The engine of a run: what --runner, the flags of Beam and this machine come to. Asked once, before all else."""

import argparse
import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from molino.jobs.options import EMBEDDED
from molino.jobs.runners import flags as known
from molino.jobs.runners import flink
from molino.transforms.errors import OptionError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Engine:
    """What runs a job's pipeline.

    Attributes:
      runner: its name.
      flags: what Beam is told besides.
      embedded: it is inside this process.
      elsewhere: its workers may be on other machines.
      workers: how many it has, of one core each, as far as its options tell.
      worker_mode: "threads" or "processes", of the embedded runner.
      spills: rows are brought together through bucket files, not in the runner's own shuffle.
      job: name of the job, by which a service tells it from others.
    """

    runner: str = EMBEDDED
    flags: Sequence[str] = ()
    embedded: bool = True
    elsewhere: bool = False
    workers: int = 1
    worker_mode: str = "threads"
    spills: bool = True
    job: str = "job"

    @functools.cached_property
    def options(self) -> Any:
        """Beam's options.

        Raises:
          OptionError: there is no such runner, or it lacks something.
        """
        return known.pipeline_options(self.runner, self.flags, job=self.job, workers=self.workers)

    @functools.cached_property
    def cluster(self) -> "flink.Cluster | None":
        """The Flink cluster that is asked about the job."""
        return None if self.embedded else flink.cluster_of(self.runner, self.options)

    @property
    def job_file(self) -> str:
        """Where Dataflow's client writes the job for somebody else to launch; "" where this command submits it."""
        if self.runner != known.DATAFLOW:
            return ""
        from apache_beam.options.pipeline_options import GoogleCloudOptions

        return self.options.view_as(GoogleCloudOptions).template_location or ""

    def check_reachable(self, paths: Sequence[str]) -> None:
        """Raise OptionError when a path is on this machine and the runner's workers are not."""
        from molino.transforms.files import storage

        for path in paths if self.runner == known.DATAFLOW else ():
            if storage.is_local(path):
                what = f"where {self.runner}'s workers cannot see it"
                raise OptionError(f"{path} is on this machine, {what}; give a gs:// path")

    def check(self) -> None:
        """Look whether a cluster answers; raise OptionError or DataError where it does not, or cannot be asked."""
        if self.cluster:
            self.cluster.check()

    def how_far(self) -> tuple[float, str]:
        """Return the share that is done and what a person may read, of workers from which no report comes."""
        return self.cluster.how_far() if self.cluster else (0.0, f"at work on {self.runner}")

    def place(self) -> dict[str, str]:
        """Return where the job will be, as a claim tells it, as far as that is known before it is submitted."""
        return {"engine": self.runner, "master": self.cluster.url, "job": self.cluster.name} if self.cluster else {}


def make_engine(args: argparse.Namespace, flags: Sequence[str]) -> Engine:
    """Return the engine that a command's options ask for.

    Raises:
      OptionError: there is no such runner, or its flags contradict each other.
    """
    known.check_flags(args.runner, flags)
    embedded = known.is_embedded(args.runner)
    return Engine(
        runner=EMBEDDED if embedded else args.runner,
        flags=flags,
        embedded=embedded,
        elsewhere=known.are_elsewhere(args.runner, flags),
        workers=known.workers_of(args.runner, flags, args.workers),
        worker_mode=args.worker_mode,
        spills=args.shuffle == "files" or (args.shuffle == "auto" and embedded),
    )
