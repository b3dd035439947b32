"""Write the metadata of every job's flex template from its options: deploy/dataflow/JOB.json.

    python deploy/dataflow/make_metadata.py
    python deploy/dataflow/make_metadata.py --spec names --image europe-docker.pkg.dev/P/REPO/molino:1 > names-spec.json

The second prints what `gcloud dataflow flex-template build` stores in Cloud Storage.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from launch import JOBS, job_parser, options_of  # noqa: E402

from molino.jobs.job import load_job  # noqa: E402

# what makes no sense on Dataflow, or is the launcher's own
LEFT_OUT = {"runner", "workers", "worker_mode", "quiet", "shuffle"}
REMOTE = r"(gs|s3|hdfs)://\S+"
WORDS = r"(\S.*)?"  # several values, as in a shell
# what a value looks like, by the function that parses it: whatever matches is parsed
FORMS = {
    "positive": r"[1-9][0-9]{0,11}",
    "line_bytes": r"[1-9][0-9]{0,8}",
    "natural": r"[0-9]{1,18}",
    "year": r"(19|20|21)[0-9]{2}",
    "ratio": r"(0|1|0?\.[0-9]+|[01]\.0+)",
    "float": r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)",
    "error_limit": r"(0?\.[0-9]*[1-9][0-9]*|1(\.[0-9]*)?|2(\.0*)?|[1-9](\.[0-9]+)?e-[1-9])",
    "sha256_digits": r"[0-9a-fA-F]{64}",
}
PLACES, IMAGE_PLACES = {"output", "curp_key_file"}, {"model"}


def metadata(job: str) -> dict[str, Any]:
    """Return the metadata of a job's template: its parameters, with texts and regular expressions."""
    parser = job_parser(job)
    groups = {id(action): group.title for group in parser._action_groups for action in group._group_actions}
    parameters = [
        _parameter("job", "Job", "The job that this template runs.", job, default=job),
        _parameter(
            "sdk_container_image",
            "Image of the workers",
            "The image that this template was built from.",
            r"[^\s]+/[^\s]+",
        ),
    ]
    for name, action in options_of(parser):
        if name not in LEFT_OUT:
            text = " ".join((action.help or name.replace("_", " ")).split()) % {}
            made = _parameter(name, action.option_strings[0], _sentence(text), _form(name, action))
            if not action.required:
                made["isOptional"] = True
            parameters.append(made | {"groupName": groups[id(action)]})
    about = " ".join((parser.description or "").split())
    return {
        "name": f"molino {job}",
        "description": f"{_sentence(load_job(job).about)} {about}",
        "parameters": parameters,
    }


def _parameter(name: str, label: str, text: str, form: str, *, default: str | None = None) -> dict[str, Any]:
    made = {"name": name, "label": label, "helpText": text, "regexes": [f"^({form})$"], "paramType": "TEXT"}
    return made if default is None else made | {"defaultValue": default}


def _form(name: str, action: argparse.Action) -> str:
    """Return a regular expression for the values of an option."""
    if action.nargs == 0:
        return "true|false"
    if action.choices:
        return "|".join(map(str, action.choices))
    if name == "input":
        return rf"{REMOTE}( .*)?|'{REMOTE}.*"
    if name in PLACES:
        return REMOTE
    if name in IMAGE_PLACES and not isinstance(action, argparse._AppendAction):
        return rf"{REMOTE}|/\S+"
    if action.nargs in ("+", "*") or isinstance(action, argparse._AppendAction):
        return WORDS
    return FORMS.get(getattr(action.type, "__name__", ""), ".*")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", ")")) else ".")


def specification(job: str, image: str) -> dict[str, Any]:
    """Return the template file of a job: what the service reads when the template is launched."""
    return {"defaultEnvironment": {}, "image": image, "metadata": metadata(job), "sdkInfo": {"language": "PYTHON"}}


def main() -> None:
    """Write all files, or print one template file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", choices=JOBS, metavar="JOB")
    parser.add_argument("--image")
    args = parser.parse_args()
    if args.spec:
        if not args.image:
            parser.error("--spec needs --image")
        print(as_text(specification(args.spec, args.image)), end="")
        return
    for job in JOBS:
        (HERE / f"{job}.json").write_text(as_text(metadata(job)), encoding="utf-8")


def as_text(value: dict[str, Any]) -> str:
    """Return JSON as the files hold it."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
