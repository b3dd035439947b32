"""The engine of a run: what --runner, the flags of Beam and this machine come to. Asked once, before all else."""

import argparse
import dataclasses
import functools
import itertools
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from molino import machine
from molino.jobs.options import DATAFLOW, EMBEDDED, FLINK, RUNNERS, did_you_mean, is_embedded
from molino.jobs.runners import flink
from molino.jobs.runners.loopback import check_loopback
from molino.transforms.errors import OptionError

ENVIRONMENTS = ("DOCKER", "PROCESS", "EXTERNAL", "LOOPBACK")
PACKAGE_FLAGS = {"--setup_file", "--sdk_container_image", "--extra_package", "--extra_packages"}
# Beam would stage a list of all that is installed here, with paths of this machine
UNTOLD = "disable_logging_submission_environment"
CORES = re.compile(r"custom-(\d+)-|-(\d+)$")  # in the name of a machine type: n2-standard-8, custom-4-8192


@dataclasses.dataclass(frozen=True, kw_only=True)
class Engine:
    """What runs a job's pipeline."""

    runner: str = EMBEDDED  # its name
    flags: Sequence[str] = ()  # what Beam is told besides
    # its workers may be on other machines. Not those of the embedded runner, nor those that Beam calls LOOPBACK:
    # threads of the very process that submits, and what Prism, Flink and Spark have by default where they run on this
    # machine too
    elsewhere: bool = False
    workers: int = 1  # how many it has, of one core each, as far as its options tell
    worker_mode: str = "threads"  # "threads" or "processes", of the embedded runner
    spills: bool = True  # rows are brought together through bucket files, not in the runner's own shuffle
    job: str = "job"  # name of the job, by which a service tells it from others

    @property
    def embedded(self) -> bool:
        """Whether it is inside this process."""
        return self.runner == EMBEDDED

    @functools.cached_property
    def options(self) -> Any:
        """Beam's options; OptionError where the runner lacks something."""
        from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

        if self.embedded:
            options = _remember_views(PipelineOptions(list(self.flags)))
            direct = options.view_as(DirectOptions)
            direct.direct_num_workers = self.workers
            # what the workers are is a matter of the environment: see run_pipeline
            direct.direct_running_mode = "in_memory"
            return options
        flags, names = list(self.flags), {flag.split("=", 1)[0] for flag in self.flags}
        if self.runner == "PrismRunner":
            flags = _locate_prism(flags)
            check_loopback()
        if self.runner == DATAFLOW and not names & PACKAGE_FLAGS:
            remedy = "add --setup_file ./setup.py, or --sdk_container_image with it inside"
            raise OptionError(f"workers would lack this program: {remedy}")
        _send_no_paths()
        # the state of __main__, which Beam would send where there is no --setup_file, holds nothing that workers need
        session = [] if names & {"--save_main_session", "--no_save_main_session"} else ["--no_save_main_session"]
        # on Flink a job is told from others by its name alone
        name = f"molino-{self.job}-{secrets.token_hex(4)}" if self.runner == FLINK else f"molino-{self.job}"
        named = [] if any(flag.startswith("--job_name") for flag in flags) else [f"--job_name={name}"]
        return PipelineOptions([*flags, f"--experiments={UNTOLD}", *session, *named, f"--runner={self.runner}"])

    @functools.cached_property
    def cluster(self) -> "flink.Cluster | None":
        """The Flink cluster that is asked about the job."""
        return None if self.embedded else flink.cluster_of(self.runner, self.options)

    @property
    def job_file(self) -> str:
        """Where Dataflow's client writes the job for somebody else to launch; "" where this command submits it."""
        return (self._cloud.template_location or "") if self.runner == DATAFLOW else ""

    @property
    def _cloud(self) -> Any:
        from apache_beam.options.pipeline_options import GoogleCloudOptions

        return self.options.view_as(GoogleCloudOptions)

    def check_reachable(self, paths: Sequence[str]) -> None:
        """Raise OptionError when a path is on this machine and the runner's workers are not."""
        from molino.transforms.files import storage

        for path in paths if self.runner == DATAFLOW else ():
            if storage.is_local(path):
                what = f"where {self.runner}'s workers cannot see it"
                raise OptionError(f"{path} is on this machine, {what}; give a gs:// path")

    def how_far(self) -> tuple[float, str]:
        """Return the share that is done and what a person may read, of workers from which no report comes."""
        return self.cluster.how_far() if self.cluster else (0.0, f"at work on {self.runner}")

    def place(self, result: Any = None) -> dict[str, str]:
        """Return where the job is, as a claim tells it; of Dataflow that is known when it has taken the job."""
        if self.cluster:
            return {"engine": self.runner, "master": self.cluster.url, "job": self.cluster.name}
        if self.runner != DATAFLOW or not getattr(result, "has_job", False):
            return {}
        place = f"{self._cloud.project}/{self._cloud.region}"
        return {"engine": self.runner, "master": place, "job": result.job_id()}


def make_engine(args: argparse.Namespace, flags: Sequence[str]) -> Engine:
    """Return the engine that a command's options ask for; OptionError where they name none, or what it cannot have.

    A dotted name is taken for a class of Beam's. Without a runner's own options, as in a plan, --workers says how many
    it has.
    """
    how: dict[str, Any] = {"flags": flags, "worker_mode": args.worker_mode}
    if is_embedded(args.runner):
        return Engine(**how, workers=args.workers or machine.cpus(), spills=args.shuffle != "runner")
    if args.runner not in RUNNERS and "." not in args.runner:
        hint = did_you_mean(args.runner, RUNNERS) or f"; try one of {', '.join(RUNNERS)}"
        raise OptionError(f"no such runner: {args.runner}{hint}")
    from apache_beam.options import pipeline_options as known

    options = known.PipelineOptions(list(flags))
    flink_options, portable = options.view_as(known.FlinkRunnerOptions), options.view_as(known.PortableOptions)
    workers, parallelism = 0, flink_options.parallelism
    if args.runner == FLINK:
        if parallelism < 1 and parallelism != -1:
            raise OptionError(f"--parallelism must be at least 1, not {parallelism}")
        workers = max(parallelism, 0)
    elif args.runner == DATAFLOW:
        workers = _cores_of(options.view_as(known.WorkerOptions))
    here = {
        "PrismRunner": True,
        FLINK: flink_options.flink_master in ("[local]", "[auto]"),
        "SparkRunner": options.view_as(known.SparkRunnerOptions).spark_master_url.startswith("local"),
    }
    kind = portable.environment_type
    _check_environment(kind, portable.environment_config)
    return Engine(
        **how,
        runner=args.runner,
        elsewhere=kind != "LOOPBACK" if kind else not here.get(args.runner, False),
        workers=workers or args.workers or 1,
        spills=args.shuffle == "files",
    )


def _check_environment(kind: str | None, config: str | None) -> None:
    """Raise OptionError where there is no such environment of workers, or it lacks the worker's program."""
    if kind and kind not in ENVIRONMENTS and not kind.startswith("beam:env:"):
        hint = did_you_mean(kind.upper(), ENVIRONMENTS) or f"; try one of {', '.join(ENVIRONMENTS)}"
        raise OptionError(f"--environment_type {kind} is unknown{hint}")
    if kind == "PROCESS" and config:
        try:
            json.loads(config)["command"]
        except (ValueError, KeyError, TypeError):
            right = 'JSON with the worker\'s program, {"command": "/opt/apache/beam/boot"}'
            raise OptionError(f"--environment_config {config}: for PROCESS it is {right}") from None


def _cores_of(machines: Any) -> int:
    """Return the cores of Dataflow's machines, 0 where its options do not tell."""
    cores = CORES.search(machines.machine_type or "")
    count = machines.num_workers or machines.max_num_workers
    return (count or 1) * int(cores[1] or cores[2]) if cores else count or 0


def _send_no_paths() -> None:
    """Let functions that are sent by value name their files as they are imported, without this machine's folders."""
    from apache_beam.internal import cloudpickle_pickler

    roots = sorted({os.path.join(os.path.abspath(place), "") for place in sys.path}, key=len, reverse=True)

    def shorten(path: str) -> str:
        return next((path.removeprefix(root) for root in roots if path.startswith(root)), os.path.basename(path))

    cloudpickle_pickler.DEFAULT_CONFIG.filepath_interceptor = shorten


def _locate_prism(flags: Sequence[str]) -> list[str]:
    """Return the flags with the path of the prism program: Beam takes a bare name for a URL, and would download one."""
    words = [word for flag in flags for word in flag.split("=", 1)]
    given = next((place for flag, place in itertools.pairwise(words) if flag == "--prism_location"), "prism")
    found = shutil.which(given)
    if "://" in given:
        return list(flags)
    if not found:
        raise OptionError(f"there is no program {given}; molino doctor --runner PrismRunner says how to get it")
    rest = [flag for flag in flags if not flag.startswith("--prism_location") and flag != given]
    return [*rest, f"--prism_location={os.path.abspath(found)}"]


def _remember_views(options: Any) -> Any:
    """Return options that make a view once: Beam asks for 500, and makes a parser for each: a quarter of a second."""
    views: dict[type, Any] = {}
    make = options.view_as
    options.__dict__["view_as"] = lambda kind: views[kind] if kind in views else views.setdefault(kind, make(kind))
    return options
