"""A stand-in for Dataflow's templates: job files are launched, and flex templates by the program that launches them.

What the service does with a flex template: it checks the parameters against the metadata in the template's file, starts
the image's launcher, which gives them to the image's program as --name=value, beside options of its own, of which
--template_location names the file that the program must write; and launches that file.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# what FLEX_TEMPLATE_PYTHON_PY_FILE names in the image
PROGRAM = ROOT / "deploy/dataflow/launch.py"


def wrong_parameters(metadata: dict[str, Any], given: dict[str, str]) -> list[str]:
    """Return what a template's metadata does not allow."""
    known = {each["name"]: each for each in metadata["parameters"]}
    wrong = [f"unrecognized parameter: {name}" for name in given if name not in known]
    for name, about in known.items():
        if name not in given:
            if not about.get("isOptional") and "defaultValue" not in about:
                wrong.append(f"missing parameter: {name}")
        elif not all(re.search(form, given[name]) for form in about["regexes"]):
            wrong.append(f"parameter {name} does not match: {given[name]!r}")
    return wrong


class Templates:
    """Launches: of job files, and of flex templates."""

    def __init__(self, dataflow: Any):
        self.dataflow, self.storage = dataflow, dataflow.storage

    def read(self, place: str) -> Any:
        """Return the JSON of an object."""
        bucket, _, name = place.removeprefix("gs://").partition("/")
        return json.loads(self.storage.file(bucket, name).read_text())

    def launch(self, project: str, region: str, asked: dict[str, Any]) -> Any:
        """Launch a job file."""
        job = self.read(asked["gcsPath"])
        return self.dataflow.create(project, region, {**job, "name": asked["jobName"]})

    def launch_flex(self, project: str, region: str, asked: dict[str, Any]) -> tuple[int, Any]:
        """Launch a flex template; return a status, and the job or what is wrong."""
        asked = asked["launchParameter"]
        template = self.read(asked["containerSpecGcsPath"])
        given = asked.get("parameters", {})
        if wrong := wrong_parameters(template["metadata"], given):
            return 400, {"error": {"code": 400, "message": "; ".join(wrong), "status": "INVALID_ARGUMENT"}}
        values = {
            each["name"]: each["defaultValue"] for each in template["metadata"]["parameters"] if "defaultValue" in each
        } | given
        environment = asked.get("environment", {})
        staging = environment.get("stagingLocation", "gs://bucket/staging").rstrip("/")
        job_file = f"{staging}/template_launches/{len(self.dataflow.jobs)}/job_object"
        values |= {
            "runner": "DataflowRunner",
            "project": project,
            "region": region,
            "job_name": asked["jobName"],
            "staging_location": staging,
            "temp_location": environment.get("tempLocation", staging),
            "template_location": job_file,
        }
        words = [f"--{name}={value}" for name, value in sorted(values.items())]
        done = subprocess.run(
            [sys.executable, PROGRAM, *words],
            cwd=self.dataflow.folder,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "STORAGE_EMULATOR_HOST": f"http://localhost:{self.dataflow.port}",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        log = {"words": words, "code": done.returncode, "out": done.stdout, "err": done.stderr}
        (self.dataflow.folder / "jobs/launch.log").write_text(json.dumps(log))
        if done.returncode:
            return 200, {"job": {"id": "none", "currentState": "JOB_STATE_FAILED"}}
        job = {"jobName": asked["jobName"], "gcsPath": job_file}
        return 200, {"job": json.loads(self.launch(project, region, job)[2])}
