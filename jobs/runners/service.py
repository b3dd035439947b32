"""The service that does a run's work elsewhere, Flink or Dataflow: how a job is ended there."""

import sys
import time
from collections.abc import Sequence

from molino.jobs.options import DATAFLOW, FLINK
from molino.jobs.runners.flink import Cluster

END_SECONDS = 60.0
LOOK_SECONDS = 2.0
ENDED = ("DONE", "FAILED", "CANCELLED", "UPDATED", "DRAINED")  # states of Dataflow in which no worker is at work


def end_job(engine: str, master: str, job: str, *, flags: Sequence[str]) -> None:
    """End the job of a dead run, as its claim names it, which would keep workers busy for nothing; wait for its end.

    What cannot be ended is told, and no more: it can publish nothing once its output has been taken over.
    """
    print(f"molino: ending the {engine} job {job} at {master}, which a dead run has left", file=sys.stderr)
    try:
        if engine == FLINK:
            Cluster(master, job).cancel()
        elif engine == DATAFLOW:
            _end_on_dataflow(master, job, flags)
    except Exception as error:
        print(f"molino: cannot end it: {' '.join(str(error).split())[:200]}; end it yourself", file=sys.stderr)


def _end_on_dataflow(master: str, job: str, flags: Sequence[str]) -> None:
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.dataflow.internal.apiclient import DataflowApplicationClient

    project, region = master.split("/")
    given = [flag for flag in flags if not flag.startswith(("--project", "--region"))]
    client = DataflowApplicationClient(PipelineOptions([*given, f"--project={project}", f"--region={region}"]))
    client.modify_job_state(job, "JOB_STATE_CANCELLED")
    limit = time.monotonic() + END_SECONDS
    while time.monotonic() < limit:
        if client.get_job(job).current_state.name.removeprefix("JOB_STATE_") in ENDED:
            return
        time.sleep(LOOK_SECONDS)
    raise TimeoutError(f"it is still there after {END_SECONDS:.0f} s")
