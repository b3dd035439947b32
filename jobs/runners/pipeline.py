"""Build a pipeline, run it on its runner, and wait for its end."""

import contextlib
import functools
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from molino.jobs.runners.exits import end_children, end_workers
from molino.jobs.runners.failures import explain_hopeless
from molino.jobs.runners.loopback import check_loopback
from molino.jobs.runners.proof import make_proof, proving
from molino.quiet import no_worker_prints
from molino.transforms.errors import OptionError
from molino.transforms.files.temporary import own_temporary_files

if TYPE_CHECKING:
    import apache_beam as beam

    from molino.jobs.runners.engine import Engine

STOP_SECONDS = 3.0  # that a worker process has, when all is done, to end by itself
LOOK_SECONDS = 0.5
NEVER_MS = 10**9  # twelve days
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of malloc.h
KEPT_BYTES, ARENAS = 1 << 26, 2


def run_pipeline(
    build: Callable[[Any], None],
    engine: "Engine",
    *,
    submitted: Callable[..., None],
    sources: tuple[str | None, Sequence[str]],
) -> None:
    """Build a pipeline, run it on an engine, and wait for its end; raise what stopped it.

    `submitted` gets engine, master and job as soon as a service that names jobs has taken this one; `sources` are of
    `make_proof`.
    """
    nothing = contextlib.nullcontext()
    here = engine.embedded and engine.worker_mode != "processes"
    with own_temporary_files(), _as_in_no_notebook():
        pipeline = _make_pipeline(engine)
        build(pipeline)
        proved = nothing if here else proving(make_proof(*sources))
        quiet = no_worker_prints() if engine.embedded else nothing
        refused = engine.cluster.ended_at_once(explain_hopeless) if engine.cluster else nothing
        with quiet, refused, _ended_elsewhere(engine) as started:
            on_interrupt = signal.getsignal(signal.SIGINT)
            with proved:
                result = pipeline.run()
            started.append(result)
            if not engine.embedded:
                submitted(**engine.place(result))
            # the job server that Beam starts takes Ctrl-C as its own end, before the job could be cancelled
            if signal.getsignal(signal.SIGINT) is not on_interrupt:
                signal.signal(signal.SIGINT, on_interrupt)
            state = result.wait_until_finish()
    if state is not None and str(state) not in ("DONE", "UPDATED"):
        raise RuntimeError(f"the runner ended in the state {state}")


@contextlib.contextmanager
def _as_in_no_notebook() -> Iterator[None]:
    """Keep Beam from naming steps by the cells of a notebook, for which it loads pandas: of 2 or before, if at all."""
    import apache_beam.pipeline as steps

    name_by_cell, steps.alter_label_if_ipython = steps.alter_label_if_ipython, lambda *_: None
    try:
        yield
    finally:
        steps.alter_label_if_ipython = name_by_cell


def _make_pipeline(engine: "Engine") -> "beam.Pipeline":
    import apache_beam as beam

    if engine.embedded:
        from apache_beam.runners.portability.fn_api_runner import FnApiRunner

        _keep_memory()
        runner = FnApiRunner(default_environment=worker_environment(engine.worker_mode, engine.workers))
        return beam.Pipeline(runner=runner, options=engine.options)
    try:
        return beam.Pipeline(options=engine.options)
    except ValueError as error:  # what the runner's options lack
        raise OptionError(" ".join(str(error).split())) from None


@contextlib.contextmanager
def _ended_elsewhere(engine: "Engine") -> Iterator[list]:
    """End a job elsewhere when its command is stopped, for what it writes is deleted; yields a list for its result."""
    submitted: list[Any] = []
    try:
        yield submitted
    except BaseException as error:
        if isinstance(error, SystemExit) and not engine.embedded:
            print("molino: stopping the job; this may take a while", file=sys.stderr)
            for result in submitted:
                with contextlib.suppress(Exception):
                    result.cancel()
        if engine.cluster:
            end_workers()  # the job server: it may still be submitting
            engine.cluster.cancel()
        raise


def _keep_memory() -> None:
    """Let glibc keep the memory of NumPy's and Arrow's large buffers: the kernel zeroed pages for a sixth of a run."""
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


def worker_environment(worker_mode: str, workers: int) -> Any:
    """Return the environment of worker processes or of several threads, or None for this very thread.

    Processes: as the runner's own multi_processing makes them, but without the log of every worker on the user's
    screen; what goes wrong in a worker reaches the runner by itself.

    Threads: as multi_threading makes them, but for one option. Once a second a second thread sends what a worker has
    put out so far and then empties the buffer; what the worker put out in between is lost without an error (Beam
    2.77, TimeBasedBufferingClosableOutputStream.flush). Without a limit of time the buffer is sent by the worker
    itself, when it is full and at the end.
    """
    from apache_beam.transforms import environments

    from molino.transforms.processes import child_environment

    if worker_mode == "processes" or workers > 1:
        check_loopback()
    if worker_mode == "processes":
        _watch_workers()
        variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in child_environment().items())
        command = f"{variables} exec {shlex.quote(sys.executable)} -m molino.jobs.runners.worker {os.getpid()} "
        command += f"2>{os.devnull}"
        return environments.SubprocessSDKEnvironment.from_command_string(command_string=command)
    if workers == 1:
        return None
    can = environments.python_sdk_capabilities()
    return environments.EmbeddedPythonGrpcEnvironment(data_buffer_time_limit_ms=NEVER_MS, capabilities=can)


def _watch_workers() -> None:
    """Let Beam notice at once that a worker process has died, and end one that does not end by itself.

    Beam would wait: for one that dies before it has called, for ever; for one that dies at work, until the others have
    done theirs; for one that does not end, for ever too, when a run is stopped, or fails, while its workers start.
    """
    from apache_beam.portability.api import beam_fn_api_pb2
    from apache_beam.runners.portability.fn_api_runner import worker_handlers

    handlers = worker_handlers.SubprocessSdkWorkerHandler
    started: list[Any] = []
    start = getattr(handlers.start_worker, "__wrapped__", handlers.start_worker)

    @functools.wraps(start)
    def start_worker(handler: Any) -> None:
        handler.stopping = threading.Event()
        start(handler)
        started.append(handler)
        threading.Thread(target=tell_of_death, args=(handler,), daemon=True).start()

    def tell_of_death(handler: Any) -> None:
        handler.worker_thread.join()
        while not handler.stopping.wait(LOOK_SECONDS):
            for other in started:  # the runner looks after a worker only when it has heard from those before it
                end_children(other.worker_thread)
            # an answer to whatever it is asked for: who waits for its data looks at nothing else
            for name, future in list(handler.control_conn._futures_by_id.items()):
                future.set(beam_fn_api_pb2.InstructionResponse(instruction_id=name, error="Worker subprocess exited"))

    def stop_worker(handler: Any) -> None:
        handler.worker_thread.join(STOP_SECONDS)
        if handler.worker_thread.is_alive():
            end_workers()
        handler.stopping.set()

    handlers.start_worker, handlers.stop_worker = start_worker, stop_worker
