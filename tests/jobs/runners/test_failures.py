"""What a person reads of a failure: one line, of whatever a runner has made of the error on its way."""

import json

import pytest

from molino.jobs.runners import exits
from molino.jobs.runners.failures import explain_failure, explain_hopeless, innermost

PYTHON = """Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1498, in apache_beam.runners.common.DoFnRunner.process
  File "/usr/lib/python3.11/site-packages/towns/count.py", line 7, in count
    return table[town]
           ~~~~~^^^^^^
"""
JAVA = """java.lang.Exception: The user defined 'open()' method caused an exception: java.io.IOException: closed
\tat org.apache.flink.runtime.operators.BatchTask.run(BatchTask.java:514)
\tat java.base/java.lang.Thread.run(Thread.java:840)
Caused by: java.util.concurrent.ExecutionException: java.lang.RuntimeException: {python}
\tat java.base/java.util.concurrent.CompletableFuture.reportGet(CompletableFuture.java:396)
\t... 5 more
\tSuppressed: java.lang.IllegalStateException: Already closed.
\t\tat org.apache.beam.sdk.fn.data.BeamFnDataOutboundAggregator.close(BeamFnDataOutboundAggregator.java:230)
Caused by: java.lang.RuntimeException: {python}
\tat org.apache.beam.runners.fnexecution.control.FnApiControlClient.onNext(FnApiControlClient.java:180)
\t... 3 more
"""
HARNESS = "Error received from SDK harness for instruction 4: "
CHAINED = (
    f"{PYTHON}KeyError: 'Mérida'\n\nDuring handling of the above exception, another exception occurred:\n\n{PYTHON}"
)


def java(python):
    return JAVA.format(python=f"{HARNESS}{python}\n")


def quoted(text):
    return f"rpc error: {json.dumps(text + chr(10))} at x"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ""),
        ("no program /nope", "no program /nope"),
        ("java.lang.Exception: TaskManager is lost\n\tat a.B.c(B.java:1)", "java.lang.Exception: TaskManager is lost"),
        (f"{PYTHON}KeyError: 7\n", "KeyError: 7"),
        (f"{CHAINED}ValueError: no town [while running 'Count']\n", "ValueError: no town [while running 'Count']"),
        (f"{PYTHON}OSError: the table\n  on /mnt/a\n  is gone\n\nSee the log", "OSError: the table on /mnt/a is gone"),
        (java(f"{PYTHON}KeyError: 7"), "KeyError: 7"),
        (java(f"{CHAINED}towns.NoTown"), "towns.NoTown"),
        (quoted(java(f"{PYTHON}KeyError: 7")), "KeyError: 7"),
        (quoted(f"{PYTHON}KeyError: '7'"), "KeyError: '7'"),
        (f"bundle failed:{PYTHON}KeyError: 7\n)", "KeyError: 7"),
        (f"{java(PYTHON + 'KeyError: 7')}Caused by: a.Refused: no\n\t... 9 more", "a.Refused: no"),
        (f"RuntimeError: {PYTHON}RuntimeError: {PYTHON}KeyError: 7", "KeyError: 7"),
        (f"{PYTHON}KeyError: 7\n\nDuring handling, another:\n\n{PYTHON.rstrip()}", "KeyError: 7"),  # cut short
    ],
)
def test_the_innermost_cause_is_one_line(text, told):
    assert innermost(text) == told


def test_a_line_is_of_a_length_that_one_can_read():
    assert len(innermost(PYTHON + "ValueError: " + "x" * 9999)) == 500


def pipeline_failed(text, state="FAILED"):
    """Return the error of Beam's portable runners."""
    return RuntimeError(f"Pipeline molino-names-1 failed in state {state}: {text}")


@pytest.mark.parametrize("wrap", [java, quoted, "generic::unknown: {}\n\npassed through:\n==>\n    a/b.cc:1".format])
def test_a_portable_runner_s_failure_is_told_by_its_last_line(wrap):
    told = explain_failure(pipeline_failed(wrap(PYTHON + "KeyError: 7")))
    assert told == "the job ended in the state FAILED: KeyError: 7; the output is as its last complete run left it"


NOT_FOUND = "ModuleNotFoundError: No module named "
NO_NAME = "AttributeError: Can't get attribute "
OTHER = "the workers have other code of molino than this command, they lack "
ON_WORKERS = {
    f"{NOT_FOUND}'molino'": "the workers lack this program, they have no module molino: ",
    f"{NOT_FOUND}'molino.jobs.x'": f"{OTHER}molino.jobs.x: rebuild their image",
    f"{NO_NAME}'_Count' on <module 'molino.jobs' from '/a.py'>": f"{OTHER}_Count in molino.jobs: rebuild their image",
    "ImportError: cannot import name 'f' from 'molino.code' (/a.py)": f"{OTHER}f in molino.code: rebuild their image",
    f"{NOT_FOUND}'cv2' [while running 'Read']": "the package cv2 is not installed on the workers: pip install -r ",
    f"{NOT_FOUND}'towns.count'": "there is no module towns.count on the workers: install it in their image, or ",
    f"{NO_NAME}'f' on <module 'towns' from '/a.py'>": "the module towns has no f, on the workers: ",
    "ImportError: libGL.so.1: cannot open": "a module cannot be loaded, on the workers: libGL.so.1: cannot open",
    # of `python -m`, by which Beam's own program starts a worker
    f"Error while finding module specification for 'a.b' ({NOT_FOUND}'a')": "there is no module a on the workers: ",
    "molino.transforms.errors.DataError: too many rejects [while running 'Verify']": "too many rejects",
}


@pytest.mark.parametrize("wrap", [str, java, quoted])
@pytest.mark.parametrize("error", ON_WORKERS)
def test_what_no_restart_would_heal_is_told(error, wrap):
    line = explain_hopeless(wrap(PYTHON + error))
    assert line.startswith(ON_WORKERS[error])
    assert "\n" not in line


def test_a_job_that_has_ended_is_told_the_same():
    """Where it is not known whether the workers are on other machines."""
    for module, told in (
        ("molino", "the workers lack this program"),
        ("towns", "there is no module towns, here or on"),
    ):
        error = f"ModuleNotFoundError: No module named {module!r}"
        assert explain_failure(pipeline_failed(java(PYTHON + error))).startswith(told)


@pytest.mark.parametrize(
    "error",
    ["ConnectionError: refused", "ValueError: no such town", "AttributeError: 'NoneType' object has no attribute 'x'"],
)
def test_what_a_restart_may_heal_is_no_end(error):
    assert explain_hopeless(java(PYTHON + error)) == ""
    # of what was tried while an import failed the end tells
    assert (
        explain_hopeless(java(f"{PYTHON}ImportError: no fast path\n\nDuring handling of it:\n\n{PYTHON}{error}")) == ""
    )


def test_what_is_missing_here_is_told_as_such():
    told = explain_failure(ModuleNotFoundError("No module named 'numba'", name="numba"))
    assert told.startswith("the package numba is not installed here: pip install -r requirements/")


def test_what_nobody_foresaw_is_told_whole_and_by_its_last_line(capsys):
    """As of a worker process here: the runner's error holds the worker's traceback as a text."""
    assert exits.fail(RuntimeError(CHAINED + "KeyError: 7")) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "molino: this should not happen: KeyError: 7; please report the lines above"
    assert "KeyError: 'Mérida'" in lines


class DataflowRuntimeException(Exception):  # noqa: N818
    """As Beam's, of an environment that the tests need not have."""

    class result:  # noqa: N801
        state = "FAILED"
        job_id = staticmethod(lambda: "2026-1")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            f"Error message from worker: generic::unknown: {PYTHON}KeyError: 7 [while running 'Count']\n\n"
            "passed through:\n==>\n    dist_proc/dax/workflow/worker/fnapi_service_impl.cc:1348",
            "KeyError: 7 [while running 'Count']",
        ),
        (f"{PYTHON}KeyError: 7\n\nNote: imports and functions of __main__ are not sent", "KeyError: 7"),
        ("Workflow failed. Causes: The zone has no such machine type.", "Workflow failed. Causes: The zone"),
        ("None", "it gave no reason"),
    ],
)
def test_dataflow_s_last_message_is_told_by_its_last_line(said, told):
    error = DataflowRuntimeException(f"Dataflow pipeline failed. State: FAILED, Error:\n{said}")
    assert f"the Dataflow job 2026-1 ended in the state FAILED: {told}" in explain_failure(error)
