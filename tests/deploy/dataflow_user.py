"""A user of Google's services, who has credentials for a stand-in of them, and jobs to submit."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

from tests import programs

ROOT = Path(__file__).resolve().parents[2]
SECRET = "7d0d0f6c-of-the-environment"

# how a job's input is made, unless another's is taken; where it lies; and what the job is told
JOBS = {
    "names": (["names", "--rows", "3000"], "n.txt", ["--min-count", "7", "--repair-names", "--curp", "drop"]),
    "titles": (["titles", "--rows", "500"], "t.csv", ["--validation", "0.25", "--seed", "77"]),
    "whales": (["whales", "--images", "3"], "sea", ["--method", "saliency", "--crop-quality", "71"]),
    "pca": (["pca", "--rows", "4000", "--numbers", "5"], "v.parquet", ["--column", "vector", "--components", "3"]),
    "shapes": ([], "", ["--sweep", "sweeps/demo.yaml", "--rows", "1234", "--problem", "ring"]),
    "predict": ([], "t.csv", ["--shards", "3", "--model", "{home}/classifier"]),
}


class Google:
    """The stand-in at work, and a user who has credentials for it."""

    def __init__(self, python, home):
        self.python, self.home, self.folder = python, home, home / "google"
        command = [python, "-m", "tests.deploy.google_stand_in", self.folder]
        self.port = 0
        self.cache = {"MOLINO_CACHE": str(home / "cache")}
        self.environment = {
            **self.cache,
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "MOLINO_CURP_KEY": SECRET,
            "GOOGLE_APPLICATION_CREDENTIALS": str(home / "key.json"),
            # where these choose other kernels than the processor's, sums differ in the last bit
            **{name: value for name, value in os.environ.items() if name.startswith(programs.AT_START)},
            "PYTHONPATH": str(ROOT),
            programs.SERVERS: os.environ[programs.SERVERS],
        }
        self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, text=True)
        self.url = f"http://localhost:{int(self.process.stdout.readline())}"
        self.environment["STORAGE_EMULATOR_HOST"] = self.url
        key = {
            "type": "service_account",
            "project_id": "proj",
            "private_key": new_key(python),
            "client_email": "submitter@proj.iam.gserviceaccount.com",
            "token_uri": f"{self.url}/token",
        }
        (home / "key.json").write_text(json.dumps(key))

    def put(self, path, name):
        """Place a file, or all files of a folder, in the bucket."""
        files = {path: name} if path.is_file() else {p: f"{name}/{p.relative_to(path)}" for p in path.rglob("*")}
        for file, key in files.items():
            if file.is_file():
                target = self.folder / "objects/bucket" / quote(key, safe="")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)

    def get(self, name):
        return (self.folder / "objects/bucket" / quote(name, safe="")).read_bytes()

    def start(self, job, *more, options=None):
        """Start a job's command as a user would."""
        place = JOBS[job][1]
        inputs = {"": [], "sea": ["--input", "gs://bucket/in/sea/images"]}.get(
            place, ["--input", f"gs://bucket/in/{place}"]
        )
        given = options_of(job, self.home) if options is None else options
        command = ["molino", job, *inputs, *given, "--quiet", "--runner", "DataflowRunner"]
        flags = ["--project", "proj", "--region", "europe-west1", "--temp_location", "gs://bucket/tmp"]
        words = [*command, *flags, "--dataflow_endpoint", self.url, *more]
        return programs.popen(words, env=self.environment, libraries="dataflow", cwd=ROOT)

    def submit(self, job, *more, output, options=None):
        """Run a job's command as a user would, with the package; return exit code and standard error.

        A path without a folder is one in the bucket. `options` stand in place of the job's own in JOBS.
        """
        place = f"gs://bucket/{output}" if "/" in output else output
        process = self.start(job, "--output", place, *more, options=options)
        _, said = process.communicate()
        return process.returncode, said.decode()

    def judge(self, state, message):
        """Let jobs end so, without being run; None lets them run."""
        verdict = self.folder / "verdict.json"
        verdict.write_text(json.dumps({"state": state, "message": message})) if state else verdict.unlink(True)

    def is_at_work(self, output, job):
        """Return whether an output is locked for a job."""
        lock = self.folder / f"objects/bucket/out%2F{output}%2F_lock"
        return lock.exists() and f'"job": "{job}"' in lock.read_text()

    def jobs(self):
        """Return what was submitted, in order."""
        files = sorted((self.folder / "jobs").glob("*.json"), key=lambda file: int(file.stem.removeprefix("job-")))
        return [json.loads(file.read_text()) for file in files]


def options_of(job, home):
    """Return what a job is told; a classifier lies in the user's home, on the machine that submits."""
    return [word.format(home=home) for word in JOBS[job][2]]


def new_key(python):
    """Return a private key, which Google's client wants before it says who it is."""
    program = (
        "from cryptography.hazmat.primitives.asymmetric import rsa\n"
        "from cryptography.hazmat.primitives import serialization as s\n"
        "key = rsa.generate_private_key(65537, 2048)\n"
        "print(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()).decode())\n"
    )
    return subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout
