"""What stopped a run, in words: one line for the user, whatever a runner made of the error on its way."""

import re
import traceback
from typing import Any

from molino.jobs.job import jobs_by_extra
from molino.transforms.errors import DataError

GOOGLE_ERRORS = {"GoogleAPICallError", "RefreshError", "DefaultCredentialsError", "DataflowJobAlreadyExistsError"}
PORTABLE_ERROR = re.compile(r"RuntimeError: Pipeline \S+ failed in state (\w+): (.*)", re.DOTALL)
JAR_ERROR = re.compile(r"Unable to fetch remote job server jar at (\S+): (.*?)\.? Also failed")
# Python's own words, and those of `python -m`
NO_MODULE = re.compile(r"No module named '?(\w+(?:\.\w+)*)")
NO_NAME = re.compile(r"(?:Can't get attribute|cannot import name) '([\w.<>]+)' (?:on <module|from) '([\w.]+)'")
NO_IMPORT = re.compile(r"\bImportError: (.*)")
DATA_ERROR = re.compile(r"(?:molino\.transforms\.errors\.)?DataError: (.*?)(?: \[while running|\\n|\n|$)")
# where a cause begins: behind the frames of a Python traceback, unless it is cut there, or where Java says so
CAUSE = re.compile(
    r"(?:Traceback \(most recent call last\):|^Traceback[^\n]*)\n(?:[ \t][^\n]*\n|\n)*(?=\S)|^Caused by: ", re.MULTILINE
)
# where it ends: at an empty line, at what Java puts below it, or with a text that it is quoted in
AFTER = re.compile(r"\n\s*\n|\n\t+(?:at |\.\.\. )|\n\s*(?:Suppressed|Caused by): |\n[\"')]")
ESCAPED = {r"\n": "\n", r"\t": "\t", r"\'": "'", r"\"": '"'}  # in a text within another
LINE_LENGTH = 500
WORKERS, ANYWHERE = "on the workers", "here or on a worker"


def explain_failure(error: BaseException) -> str:
    """Return the line for the user: a worker's DataError travels as text inside the runner's own error."""
    if isinstance(error, DataError):
        return str(error).split(" [while running")[0]
    text = "".join(traceback.format_exception(error))
    if found := DATA_ERROR.search(text):
        return found[1]
    if missing := _explain_missing(innermost(text), "here" if isinstance(error, ImportError) else ANYWHERE):
        return missing
    if jar := JAR_ERROR.search(text):
        return f"cannot fetch Beam's job server, {jar[1]}: {jar[2]}; give it as a file: --flink_job_server_jar FILE"
    if ended := PORTABLE_ERROR.search(text):
        cause = innermost(ended[2])
        return f"the job ended in the state {ended[1]}: {cause}; the output is as its last complete run left it"
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "DataflowRuntimeException" in kinds:
        return _explain_dataflow(error)
    if kinds & GOOGLE_ERRORS:
        return f"Dataflow did not take the job: {' '.join(str(error).split())[:500]}"
    if "Channel closed prematurely" in text or "Worker subprocess exited" in text:
        what = "a worker process ended suddenly: it was killed, or memory was short"
        return f"{what}; nothing was published; run again, with fewer --workers if memory was short"
    return ""


def explain_hopeless(text: str) -> str:
    """Return the line for what a worker would meet again however often it is tried, "" for any other text."""
    found = DATA_ERROR.search(text)
    return found[1] if found else _explain_missing(innermost(text), WORKERS)


def innermost(text: str) -> str:
    """Return in one line the last cause that a text tells: Python's tracebacks within Java's, each within another.

    >>> innermost("java.lang.Exception: lost\\n\\tat a.B(B.java:1)\\nCaused by: java.io.IOException: full\\n\\t... 9")
    'java.io.IOException: full'
    """
    text = re.sub(r"\\[nt'\"]", lambda found: ESCAPED[found[0]], text).strip()
    start = max((found.end() for found in CAUSE.finditer(text)), default=0)
    return " ".join(AFTER.split(text[start:], maxsplit=1)[0].split())[:LINE_LENGTH]


def _explain_missing(line: str, where: str) -> str:
    """Return what to do about a module, or a name in one, that was not found; "" where a line tells of none."""
    found, name = NO_MODULE.search(line), NO_NAME.search(line)
    module = found[1] if found else name[2] if name else ""
    top = module.split(".")[0]
    here = where == "here"
    if module == "molino" and not name:
        what = "the workers lack this program, they have no module molino"
        return f"{what}: build it into their image, or add --setup_file ./setup.py"
    if top == "molino" and not here:
        what = f"{name[1]} in {module}" if name else module
        told = f"the workers have other code of molino than this command, they lack {what}"
        return f"{told}: rebuild their image from the code of this command, or reinstall it on them"
    if jobs := jobs_by_extra(top):  # of several locks that bring it, each says for which jobs
        each = [
            f"{extra}.txt" + (f" for {' and '.join(names)}" if len(jobs) > 1 else "") for extra, names in jobs.items()
        ]
        return f"the package {top} is not installed {where}: pip install -r requirements/{', '.join(each)}"
    if found and where == WORKERS:
        return f"there is no module {module} on the workers: install it in their image, or bring it by --setup_file"
    if found:
        return f"there is no module {module}, here or on a worker: install it, or name its folder in PYTHONPATH"
    if name:
        what = f"the module {module} has no {name[1]}, {where}"
        return f"{what}: it is another version than the command's, or was not sent; reinstall it"
    loaded = NO_IMPORT.search(line)
    return f"a module cannot be loaded, {where}: {loaded[1]}" if loaded else ""


def _explain_dataflow(error: Any) -> str:
    """Return what the service said last of a job that it ended."""
    said = str(error).partition("Error:\n")[2].strip()
    last = innermost(said) if said and said != "None" else "it gave no reason"
    name = error.result.job_id()
    return (
        f"the Dataflow job {name} ended in the state {error.result.state}: {last}; the output is as its last complete "
        f"run left it; the log: gcloud logging read 'resource.labels.job_id={name} severity>=ERROR'"
    )
