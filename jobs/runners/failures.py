"""What stopped a run, in words: one line for the user, whatever a runner made of the error on its way."""

import re
import traceback
from typing import Any

GOOGLE_ERRORS = {"GoogleAPICallError", "RefreshError", "DefaultCredentialsError", "DataflowJobAlreadyExistsError"}
PORTABLE_ERROR = re.compile(r"RuntimeError: Pipeline \S+ failed in state (\w+): (.*)")
JAR_ERROR = re.compile(r"Unable to fetch remote job server jar at (\S+): (.*?)\.? Also failed")
NO_MODULE = re.compile(r"ModuleNotFoundError: No module named '(\w+)")
# what brings a package that the base install lacks
LOCKS = {"cv2": "images.txt", "simplejpeg": "images.txt", "tensorflow": "tensorflow.txt"}
LOCKS["numba"] = "shapes.txt for shapes, images.txt for whales, tensorflow.txt for titles and predict"
DATA_ERROR = re.compile(r"(?:molino\.transforms\.errors\.)?DataError: (.*?)(?: \[while running|\\n|\n|$)")


def explain_failure(error: BaseException) -> str:
    """Return the line for the user: a worker's DataError travels as text inside the runner's own error."""
    from molino.transforms.errors import DataError

    if isinstance(error, DataError):
        return str(error).split(" [while running")[0]
    text = "".join(traceback.format_exception(error))
    found = DATA_ERROR.search(text)
    if found:
        return found[1]
    module = NO_MODULE.search(text)
    if module and module[1] in LOCKS:
        return f"the package {module[1]} is not installed here: pip install -r requirements/{LOCKS[module[1]]}"
    if module:
        return f"there is no module {module[1]}, here or on a worker: install it, or name its folder in PYTHONPATH"
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
