"""What a runner's name and flags mean: whether such a run can be, how many workers it has, and where they are."""

import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from molino import machine
from molino.jobs.options import EMBEDDED, RUNNERS, did_you_mean
from molino.jobs.runners.loopback import check_loopback
from molino.transforms.errors import OptionError

DATAFLOW = "DataflowRunner"
FLINK = "FlinkRunner"
ENVIRONMENTS = ("DOCKER", "PROCESS", "EXTERNAL", "LOOPBACK")
PACKAGE_FLAGS = {"--setup_file", "--sdk_container_image", "--extra_package", "--extra_packages"}
# Beam would stage a list of all that is installed here, with paths of this machine
UNTOLD = "disable_logging_submission_environment"
CORES = re.compile(r"custom-(\d+)-|-(\d+)$")  # in the name of a machine type: n2-standard-8, custom-4-8192


def pipeline_options(runner: str, flags: Sequence[str], *, job: str, workers: int | None) -> Any:
    """Return Beam's options, of flags that `check_flags` has passed.

    The embedded runner gets `workers` workers, by default one for each CPU it may use.
    """
    from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

    names = {flag.split("=", 1)[0] for flag in flags}
    if not is_embedded(runner):
        if runner == "PrismRunner":
            flags = _locate_prism(flags)
            check_loopback()
        if runner == DATAFLOW and not names & PACKAGE_FLAGS:
            raise OptionError(
                "workers would lack this program: add --setup_file ./setup.py, or --sdk_container_image with it inside"
            )
        _send_no_paths()
        # the state of __main__, which Beam would send where there is no --setup_file, holds nothing that workers need
        session = [] if names & {"--save_main_session", "--no_save_main_session"} else ["--no_save_main_session"]
        flags = [*flags, f"--experiments={UNTOLD}", *session]
        # on Flink a job is told from others by its name alone
        name = f"molino-{job}-{secrets.token_hex(4)}" if runner == FLINK else f"molino-{job}"
        named = [] if any(flag.startswith("--job_name") for flag in flags) else [f"--job_name={name}"]
        return PipelineOptions([*flags, *named, f"--runner={runner}"])
    options = _remember_views(PipelineOptions(list(flags)))
    direct = options.view_as(DirectOptions)
    direct.direct_num_workers = workers or machine.cpus()
    direct.direct_running_mode = "in_memory"  # what the workers are is a matter of the environment: see run_pipeline
    return options


def check_flags(runner: str, flags: Sequence[str]) -> None:
    """Look whether a run with these flags could be.

    Raises:
      OptionError: there is no runner of this name (a dotted one is taken for a class of Beam's), or no such environment
        of workers, or a number of them that cannot be.
    """
    if is_embedded(runner):
        return
    from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions, PortableOptions

    if runner not in RUNNERS and "." not in runner:
        hint = did_you_mean(runner, RUNNERS) or f"; try one of {', '.join(RUNNERS)}"
        raise OptionError(f"no such runner: {runner}{hint}")
    options = PipelineOptions(list(flags))
    parallelism = options.view_as(FlinkRunnerOptions).parallelism
    if runner == FLINK and parallelism < 1 and parallelism != -1:
        raise OptionError(f"--parallelism must be at least 1, not {parallelism}")
    given = options.view_as(PortableOptions)
    kind, config = given.environment_type, given.environment_config
    if kind and kind not in ENVIRONMENTS and not kind.startswith("beam:env:"):
        hint = did_you_mean(kind.upper(), ENVIRONMENTS) or f"; try one of {', '.join(ENVIRONMENTS)}"
        raise OptionError(f"--environment_type {kind}: there is no such one{hint}")
    if kind == "PROCESS" and config:
        try:
            json.loads(config)["command"]
        except (ValueError, KeyError, TypeError):
            raise OptionError(
                f"--environment_config {config}: for PROCESS it is JSON with the worker's program, "
                '{"command": "/opt/apache/beam/boot"}'
            ) from None


def workers_of(runner: str, flags: Sequence[str], workers: int | None) -> int:
    """Return how many workers of one core each a run will have, as far as its options tell.

    Args:
      workers: --workers, where a plan for another runner is asked for without that runner's own options.
    """
    if is_embedded(runner):
        return workers or machine.cpus()
    from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions, WorkerOptions

    options = PipelineOptions(list(flags))
    told = 0
    if runner == FLINK:
        told = options.view_as(FlinkRunnerOptions).parallelism
    elif runner == DATAFLOW:
        machines = options.view_as(WorkerOptions)
        cores = CORES.search(machines.machine_type or "")
        count = machines.num_workers or machines.max_num_workers
        told = (count or 1) * int(cores[1] or cores[2]) if cores else count or 0
    return told if told > 0 else workers or 1


def _send_no_paths() -> None:
    """Let functions that are sent by value name their files as they are imported, without this machine's folders."""
    from apache_beam.internal import cloudpickle_pickler

    roots = sorted({os.path.join(os.path.abspath(place), "") for place in sys.path}, key=len, reverse=True)

    def shorten(path: str) -> str:
        return next((path.removeprefix(root) for root in roots if path.startswith(root)), os.path.basename(path))

    cloudpickle_pickler.DEFAULT_CONFIG.filepath_interceptor = shorten


def are_elsewhere(runner: str, flags: Sequence[str]) -> bool:
    """Return whether a runner's workers may be on other machines.

    Not those of the embedded runner, nor those that Beam calls LOOPBACK: threads of the very process that submits, and
    what Prism, Flink and Spark have by default where they run on this machine too.
    """
    if is_embedded(runner):
        return False
    from apache_beam.options import pipeline_options as known

    options = known.PipelineOptions(list(flags))
    kind = options.view_as(known.PortableOptions).environment_type
    if kind:
        return kind != "LOOPBACK"
    here = {
        "PrismRunner": True,
        FLINK: options.view_as(known.FlinkRunnerOptions).flink_master in ("[local]", "[auto]"),
        "SparkRunner": options.view_as(known.SparkRunnerOptions).spark_master_url.startswith("local"),
    }
    return not here.get(runner, False)


def _locate_prism(flags: Sequence[str]) -> list[str]:
    """Return the flags with the path of the prism program: Beam takes a bare name for a URL, and would download one."""
    words = [word for flag in flags for word in flag.split("=", 1)]
    place = words.index("--prism_location") + 1 if "--prism_location" in words else -1
    given = words[place] if 0 <= place < len(words) else "prism"
    found = shutil.which(given)
    if "://" in given:
        return list(flags)
    if not found:
        raise OptionError(f"there is no program {given}; molino doctor --runner PrismRunner says how to get it")
    rest = [flag for flag in flags if not flag.startswith("--prism_location") and flag != given]
    return [*rest, f"--prism_location={os.path.abspath(found)}"]


def _remember_views(options: Any) -> Any:
    """Return the options with views that are made once.

    Beam asks for one at every step of building a graph, some 500 times, and makes a command-line parser for each: a
    quarter of a second.
    """
    views: dict[type, Any] = {}
    make = options.view_as
    options.__dict__["view_as"] = lambda kind: views[kind] if kind in views else views.setdefault(kind, make(kind))
    return options


def is_embedded(runner: str) -> bool:
    """Return whether a runner's name means the one inside this process.

    DirectRunner is a name for three engines that Beam chooses among without saying; here it is always this one.
    """
    return runner.lower() in (EMBEDDED, "directrunner", "fnapirunner")
