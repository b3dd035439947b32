"""The jobs and the training after them as a DAG of Airflow 3; put it into the folder of DAGs.

Airflow has an environment of its own and runs the program of the jobs' environment: their packages never meet. A task
is one command. Retries do no harm: a run that is complete is a no-op, and one that failed left the output as it was.

    names                                                        the tables of names
    whales                                                       the regions of photographs
    split >> grow >> titles >> titles_are_complete >> train      a model grown on titles, their vectors, a classifier
"""

import datetime
import os
import pathlib
import subprocess

from airflow.sdk import DAG, Param, PokeReturnValue, task

# molino's exit codes for data or disk, and for another run at work in the output; a wrong command line (2) or another's
# output (3) no retry mends
RETRIED = (1, 75)


@task
def molino(*arguments: str, program: str) -> None:
    """Run the program; what it says is the task's log."""
    from airflow.sdk.exceptions import AirflowFailException

    # no shell: a parameter is one argument, whatever is in it
    command = [program, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        assert running.stdout is not None
        try:
            for line in running.stdout:
                print(line.rstrip())
        except BaseException:  # the task is stopped: so is the run, which leaves the output as it was
            running.terminate()
            raise
    if running.returncode in RETRIED:
        raise RuntimeError(f"molino ended with the exit code {running.returncode}; this is tried again")
    if running.returncode:
        raise AirflowFailException(f"molino ended with the exit code {running.returncode}")


@task.sensor(poke_interval=60, timeout=6 * 3600, mode="reschedule")
def complete(output: str) -> PokeReturnValue:
    """Wait for _SUCCESS, which a run writes last."""
    return PokeReturnValue(is_done=(pathlib.Path(output) / "_SUCCESS").is_file())


with DAG(
    dag_id="molino",
    description="Public data to Parquet, and the training on it",
    schedule="@daily",
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    catchup=False,
    max_active_runs=1,  # of two runs in one folder the second would wait for its retry
    default_args={"retries": 3, "retry_delay": datetime.timedelta(minutes=5), "retry_exponential_backoff": True},
    render_template_as_native_obj=False,
    doc_md=__doc__,
    params={
        "program": Param(os.environ.get("MOLINO", "molino"), type="string", description="the jobs' command"),
        "names": Param("/data/sep.txt", type="string", description="payroll files: a path or glob"),
        "titles": Param("/data/titles.csv", type="string", description="titles: a path or glob"),
        "photographs": Param("/data/photographs", type="string", description="a folder of photographs"),
        "output": Param("/data/molino", type="string", description="folder of all outputs"),
        "method": Param("original", enum=["original", "fast", "saliency"], description="of the whales job"),
        "dim": Param(128, type="integer", minimum=1, description="numbers of a title's vector"),
        "workers": Param(2, type="integer", minimum=1, description="of each job"),
    },
):

    def run(task_id: str, *arguments: str):
        """Return a task that runs one command."""
        return molino.override(task_id=task_id)(*arguments, program="{{ params.program }}")

    output, job = "{{ params.output }}", ("--overwrite", "--quiet", "--workers", "{{ params.workers }}")
    run("names", "names", "--input", "{{ params.names }}", "--output", f"{output}/names", *job)
    run(
        *("whales", "whales", "--input", "{{ params.photographs }}", "--output", f"{output}/whales"),
        *("--method", "{{ params.method }}", *job),
    )

    given = ("titles", "--input", "{{ params.titles }}")
    split = run("split", *given, "--output", f"{output}/split", *job)
    grow = run(
        *("grow", "model", "train", "--input", f"{output}/split", "--output", f"{output}/model"),
        *("--dim", "{{ params.dim }}", "--overwrite", "--quiet"),
    )
    titles = run("titles", *given, "--model", f"grown={output}/model", "--output", f"{output}/titles", *job)
    ready = complete.override(task_id="titles_are_complete")(f"{output}/titles")
    train = run(
        *("train", "train", "titles", "--input", f"{output}/titles", "--embedding", "grown"),
        *("--model", f"grown={output}/model", "--output", f"{output}/classifier", "--overwrite", "--quiet"),
    )
    split >> grow >> titles >> ready >> train
