"""Run a pipeline on a named runner, and end it as a command should: with a message and an exit code."""

import contextlib
import difflib
import glob
import io
import json
import logging
import os
import re
import secrets
import shlex
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from jobs.options import DATA, EMBEDDED, RUNNERS
from jobs.temporary import own_temporary_files, remove_temporary_files

if TYPE_CHECKING:
    from jobs.flink import Cluster

INTERRUPTED, TERMINATED = 130, 143
STOP_SECONDS = 3.0  # that a worker process has, when all is done, to end by itself
NEVER_MS = 10**9  # twelve days
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of malloc.h
KEPT_BYTES, ARENAS = 1 << 26, 2
DATAFLOW = "DataflowRunner"
FLINK = "FlinkRunner"
ENVIRONMENTS = ("DOCKER", "PROCESS", "EXTERNAL", "LOOPBACK")
PACKAGE_FLAGS = ("--setup_file", "--sdk_container_image", "--extra_package", "--extra_packages")
GOOGLE_ERRORS = {"GoogleAPICallError", "RefreshError", "DefaultCredentialsError", "DataflowJobAlreadyExistsError"}
# Beam would stage a list of all that is installed here, with paths of this machine
UNTOLD = "disable_logging_submission_environment"
CORES = re.compile(r"custom-(\d+)-|-(\d+)$")  # in the name of a machine type: n2-standard-8, custom-4-8192
PORTABLE_ERROR = re.compile(r"RuntimeError: Pipeline \S+ failed in state (\w+): (.*)")
JAR_ERROR = re.compile(r"Unable to fetch remote job server jar at (\S+): (.*?)\.? Also failed")
DATA_ERROR = re.compile(r"(?:transforms\.errors\.)?DataError: (.*?)(?: \[while running|\\n|\n|$)")


def silence_beam() -> None:
    """Keep Beam's chatter, at import and at work, out of the user's sight; its errors stay."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.ERROR)  # the logger of a job server has a level of its own
    logging.basicConfig(level=logging.ERROR, format="%(message)s", handlers=[handler])
    logging.getLogger().setLevel(logging.ERROR)
    # a failed bundle is raised as well: its traceback need not be logged before, here or by a job server
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    logging.getLogger().addFilter(lambda record: record.module != "portable_runner")


def pipeline_options(runner: str, flags: Sequence[str], *, job: str, workers: int | None) -> Any:
    """Return Beam's options; the embedded runner gets `workers` workers, one a core by default."""
    from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

    if not is_embedded(runner):
        check_flags(runner, flags)
        if runner == "PrismRunner":
            flags = _locate_prism(flags)
        if runner == DATAFLOW and not _names(flags, *PACKAGE_FLAGS):
            from transforms.errors import OptionError

            raise OptionError(
                "workers would lack this program: add --setup_file ./setup.py, or --sdk_container_image with it inside"
            )
        _send_no_paths()
        # the state of __main__, which Beam would send where there is no --setup_file, holds nothing that workers need
        session = [] if _names(flags, "--save_main_session", "--no_save_main_session") else ["--no_save_main_session"]
        flags = [*flags, f"--experiments={UNTOLD}", *session]
        # on Flink a job is told from others by its name alone
        name = f"molino-{job}-{secrets.token_hex(4)}" if runner == FLINK else f"molino-{job}"
        named = [] if any(flag.startswith("--job_name") for flag in flags) else [f"--job_name={name}"]
        return PipelineOptions([*flags, *named, f"--runner={runner}"])
    options = _remember_views(PipelineOptions(list(flags)))
    direct = options.view_as(DirectOptions)
    direct.direct_num_workers = workers or os.cpu_count() or 1
    direct.direct_running_mode = "in_memory"  # what the workers are is a matter of the environment: see run_pipeline
    return options


def check_flags(runner: str, flags: Sequence[str]) -> None:
    """Look whether a run with these flags could be.

    Raises:
      OptionError: there is no runner of this name (a dotted one is taken for a class of Beam's), or no such environment
        of workers, or a number of them that cannot be.
    """
    from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions, PortableOptions

    from transforms.errors import OptionError

    if is_embedded(runner):
        return
    if runner not in RUNNERS and "." not in runner:
        near = difflib.get_close_matches(runner, RUNNERS, 1)
        hint = f"did you mean {near[0]}?" if near else f"try one of {', '.join(RUNNERS)}"
        raise OptionError(f"no such runner: {runner}; {hint}")
    options = PipelineOptions(list(flags))
    parallelism = options.view_as(FlinkRunnerOptions).parallelism
    if runner == FLINK and parallelism < 1 and parallelism != -1:
        raise OptionError(f"--parallelism must be at least 1, not {parallelism}")
    given = options.view_as(PortableOptions)
    kind, config = given.environment_type, given.environment_config
    if kind and kind not in ENVIRONMENTS and not kind.startswith("beam:env:"):
        near = difflib.get_close_matches(kind.upper(), ENVIRONMENTS, 1)
        hint = f"did you mean {near[0]}?" if near else f"try one of {', '.join(ENVIRONMENTS)}"
        raise OptionError(f"--environment_type {kind}: there is no such one; {hint}")
    if kind == "PROCESS" and config:
        try:
            json.loads(config)["command"]
        except (ValueError, KeyError, TypeError):
            raise OptionError(
                f"--environment_config {config}: for PROCESS it is JSON with the worker's program, "
                '{"command": "/opt/apache/beam/boot"}'
            ) from None


def workers_of(runner: str, flags: Sequence[str], asked: int | None) -> int:
    """Return how many workers of one core each a run will have, as far as its options tell.

    Args:
      asked: --workers, where a plan for another runner is asked for without that runner's own options.
    """
    from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions, WorkerOptions

    if is_embedded(runner):
        return asked or os.cpu_count() or 1
    options = PipelineOptions(list(flags))
    told = 0
    if runner == FLINK:
        told = options.view_as(FlinkRunnerOptions).parallelism
    elif runner == DATAFLOW:
        machines = options.view_as(WorkerOptions)
        cores = CORES.search(machines.machine_type or "")
        count = machines.num_workers or machines.max_num_workers
        told = (count or 1) * int(cores[1] or cores[2]) if cores else count or 0
    return told if told > 0 else asked or 1


def _send_no_paths() -> None:
    """Let functions that are sent by value name their files as they are imported, without this machine's folders."""
    from apache_beam.internal import cloudpickle_pickler

    roots = sorted({os.path.join(os.path.abspath(place), "") for place in sys.path}, key=len, reverse=True)

    def shorten(path: str) -> str:
        return next((path.removeprefix(root) for root in roots if path.startswith(root)), os.path.basename(path))

    cloudpickle_pickler.DEFAULT_CONFIG.filepath_interceptor = shorten


def _names(flags: Sequence[str], *options: str) -> bool:
    """Return whether one of the options is given."""
    return any(flag.split("=", 1)[0] in options for flag in flags)


def check_reachable(runner: str, paths: Sequence[str]) -> None:
    """Raise OptionError when a path is on this machine and the runner's workers are not."""
    from transforms import storage
    from transforms.errors import OptionError

    for path in paths:
        if runner == DATAFLOW and storage.is_local(path):
            raise OptionError(f"{path} is on this machine, where {DATAFLOW}'s workers cannot see it; give a gs:// path")


def are_elsewhere(runner: str, flags: Sequence[str]) -> bool:
    """Return whether a runner's workers may be on other machines.

    Not those of the embedded runner, nor those that Beam calls LOOPBACK: threads of the very process that submits, and
    what Prism, Flink and Spark have by default where they run on this machine too.
    """
    from apache_beam.options import pipeline_options as known

    if is_embedded(runner):
        return False
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


def job_file_of(options: Any) -> str:
    """Return where Dataflow's client writes the job that somebody else will launch; "" when it submits the job."""
    from apache_beam.options.pipeline_options import GoogleCloudOptions, StandardOptions

    if options.view_as(StandardOptions).runner != DATAFLOW:
        return ""
    return options.view_as(GoogleCloudOptions).template_location or ""


def _locate_prism(flags: Sequence[str]) -> list[str]:
    """Return the flags with the path of the prism program: Beam takes a bare name for a URL, and would download one."""
    from transforms.errors import OptionError

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


def run_pipeline(
    build: Callable, runner: str, options: Any, *, worker_mode: str, cluster: "Cluster | None" = None
) -> None:
    """Build a pipeline, run it, and wait for its end; raise what stopped it."""
    with own_temporary_files():
        _run_pipeline(build, runner, options, worker_mode, cluster)


def _run_pipeline(build: Callable, runner: str, options: Any, worker_mode: str, cluster: "Cluster | None") -> None:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import DirectOptions

    from transforms.errors import OptionError

    if is_embedded(runner):
        from apache_beam.runners.portability.fn_api_runner import FnApiRunner

        _keep_memory()
        workers = options.view_as(DirectOptions).direct_num_workers
        made = FnApiRunner(default_environment=_environment(worker_mode, workers))
        pipeline = beam.Pipeline(runner=made, options=options)
    else:
        try:
            pipeline = beam.Pipeline(options=options)
        except ValueError as error:  # what the runner's options lack
            raise OptionError(" ".join(str(error).split())) from None
    build(pipeline)
    quiet = _no_worker_prints() if is_embedded(runner) else contextlib.nullcontext()
    refused = cluster.ended_by_data(DATA_ERROR) if cluster else contextlib.nullcontext()
    with quiet, refused, _ended_elsewhere(runner, cluster) as submitted:
        on_interrupt = signal.getsignal(signal.SIGINT)
        result = pipeline.run()
        submitted.append(result)
        # the job server that Beam starts takes Ctrl-C as its own end, before the job could be cancelled
        if signal.getsignal(signal.SIGINT) is not on_interrupt:
            signal.signal(signal.SIGINT, on_interrupt)
        state = result.wait_until_finish()
    if state is not None and str(state) not in ("DONE", "UPDATED"):
        raise RuntimeError(f"the runner ended in the state {state}")


@contextlib.contextmanager
def _no_worker_prints() -> Iterator[None]:
    """Drop what is written to standard error meanwhile, and after a failure what other threads still write.

    Worker threads print the traceback of whatever they raise; it is raised here as well, and explained.
    """
    before, sys.stderr = sys.stderr, io.StringIO()
    try:
        yield
    except BaseException:
        sys.stderr = _MainThread(before)
        raise
    sys.stderr = before


class _MainThread(io.TextIOBase):
    """A text stream that takes what the main thread writes, and drops the rest."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    def write(self, text: str) -> int:
        """Write the text, or drop it."""
        return self.stream.write(text) if threading.current_thread() is threading.main_thread() else len(text)

    def flush(self) -> None:
        """Flush the stream."""
        self.stream.flush()


@contextlib.contextmanager
def _ended_elsewhere(runner: str, cluster: "Cluster | None") -> Iterator[list]:
    """End the job of another process when its command is stopped: what it still wrote would be deleted under it.

    Yields a list that gets the pipeline's result.
    """
    submitted: list[Any] = []
    try:
        yield submitted
    except BaseException as error:
        stopped = isinstance(error, SystemExit) and not is_embedded(runner)
        if stopped:
            print("molino: stopping the job; this may take a while", file=sys.stderr)
            for result in submitted:
                with contextlib.suppress(Exception):
                    result.cancel()
        if cluster:
            end_workers()  # the job server: it may still be submitting
            cluster.cancel()
        raise


def _keep_memory() -> None:
    """Let the process keep the memory of large buffers for the next: the kernel zeroed pages for a sixth of a run.

    By glibc's allocator, for NumPy and for Arrow; elsewhere nothing changes.
    """
    import ctypes

    import pyarrow as pa

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
    mallopt(M_ARENA_MAX, ARENAS)  # each would keep memory of its own: a quarter more in all
    pa.set_memory_pool(pa.system_memory_pool())


def _environment(worker_mode: str, workers: int) -> Any:
    """Return the environment of worker processes or of several threads, or None for this very thread.

    Processes: as the runner's own multi_processing makes them, but without the log of every worker on the user's
    screen; what goes wrong in a worker reaches the runner by itself.

    Threads: as multi_threading makes them, but for one option. Once a second a second thread sends what a worker has
    put out so far and then empties the buffer; what the worker put out in between is lost without an error (Beam
    2.77, TimeBasedBufferingClosableOutputStream.flush). Without a limit of time the buffer is sent by the worker
    itself, when it is full and at the end.
    """
    from apache_beam.transforms import environments

    if worker_mode == "processes":
        _end_late_workers()
        command = f"exec {shlex.quote(sys.executable)} -m jobs.worker {os.getpid()} 2>{os.devnull}"
        return environments.SubprocessSDKEnvironment.from_command_string(command_string=command)
    if workers == 1:
        return None
    return environments.EmbeddedPythonGrpcEnvironment(
        data_buffer_time_limit_ms=NEVER_MS, capabilities=environments.python_sdk_capabilities()
    )


def _end_late_workers() -> None:
    """Let Beam end a worker process that does not end by itself: one that is told to before it has called waits on.

    Beam would wait for it for ever: when a run is stopped, or fails, while its workers start.
    """
    from apache_beam.runners.portability.fn_api_runner import worker_handlers

    def stop_worker(handler: Any) -> None:
        handler.worker_thread.join(STOP_SECONDS)
        if handler.worker_thread.is_alive():
            end_workers()

    worker_handlers.SubprocessSdkWorkerHandler.stop_worker = stop_worker


def explain_failure(error: BaseException) -> str:
    """Return the line for the user: a worker's DataError travels as text inside the runner's own error."""
    from transforms.errors import DataError

    if isinstance(error, DataError):
        return str(error).split(" [while running")[0]
    text = "".join(traceback.format_exception(error))
    found = DATA_ERROR.search(text)
    if found:
        return found[1]
    jar = JAR_ERROR.search(text)
    if jar:
        return f"cannot fetch Beam's job server, {jar[1]}: {jar[2]}; give it as a file: --flink_job_server_jar FILE"
    ended = PORTABLE_ERROR.search(text)
    if ended:
        return f"the job ended in the state {ended[1]}: {ended[2]}; the output is as its last complete run left it"
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "DataflowRuntimeException" in kinds:
        return _explain_dataflow(error)
    if kinds & GOOGLE_ERRORS:
        return f"Dataflow did not take the job: {' '.join(str(error).split())[:500]}"
    if "Channel closed prematurely" in text or "Worker subprocess exited" in text:
        return (
            "a worker process ended suddenly: it was killed, or memory was short; nothing was published; run again, "
            "with fewer --workers if memory was short"
        )
    return ""


def _explain_dataflow(error: Any) -> str:
    """Return what the service said last of a job that it ended."""
    said = str(error).partition("Error:\n")[2].strip()
    last = said.splitlines()[-1].strip()[:500] if said and said != "None" else "it gave no reason"
    name = error.result.job_id()
    return (
        f"the Dataflow job {name} ended in the state {error.result.state}: {last}; the output is as its last complete "
        f"run left it; the log: gcloud logging read 'resource.labels.job_id={name} severity>=ERROR'"
    )


def fail(error: BaseException) -> int:
    """Print what went wrong and return the exit code."""
    line = explain_failure(error)
    if line:
        print(f"molino: {line}", file=sys.stderr)
    else:
        traceback.print_exception(error)
        print("molino: this should not happen; please report the lines above", file=sys.stderr)
    return DATA


@contextlib.contextmanager
def signals_as_exits() -> Iterator[list[int]]:
    """Turn SIGTERM into SystemExit(143) and Ctrl-C into SystemExit(130), so that what was begun is tidied up.

    Yields a list that gets the exit code: a worker in this very thread makes an error of its own of the exit.
    """
    received: list[int] = []

    def stop(number: int, _: object) -> None:
        received.append(TERMINATED if number == signal.SIGTERM else INTERRUPTED)
        # a terminal sends Ctrl-C to workers and job servers too: of their end logs and threads would tell
        logging.disable(logging.CRITICAL)
        threading.excepthook = lambda _: None
        raise SystemExit(received[0])

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave(code: int) -> None:
    """End the process at once: after a failure Beam's worker threads may hold it open for minutes."""
    sys.stdout.flush()
    sys.stderr.flush()
    end_workers()
    remove_temporary_files()
    os._exit(code)


def end_workers(seconds: float = 5) -> None:
    """End worker processes that this one started; Linux only, elsewhere they notice that their runner is gone.

    Args:
      seconds: how long to wait for their end.
    """
    threading.excepthook = lambda _: None  # Beam has a thread that waits for each of them, and tells of its end
    limit = time.monotonic() + seconds
    while (children := _children()) and time.monotonic() < limit:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
        time.sleep(0.02)


def _children() -> list[int]:
    """Return the processes that any thread of this one started and that have not ended."""
    found = []
    for path in glob.glob("/proc/self/task/*/children"):
        with contextlib.suppress(OSError), open(path) as file:
            found += [int(child) for child in file.read().split()]
    return [child for child in found if _is_at_work(child)]


def _is_at_work(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
