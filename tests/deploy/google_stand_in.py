"""A stand-in for two of Google's services on the loopback interface: Cloud Storage and Dataflow.

    python -m tests.deploy.google_stand_in FOLDER

It prints its port. Beam's client asks for objects by the JSON interface, the program by the XML interface.
FOLDER/objects/BUCKET/ holds the objects, their names quoted; FOLDER/jobs/ what was submitted. A job is run from what
was staged and nothing else: its pipeline on Beam's embedded runner, its packages by their archive or, where none was
staged, as the image has them: FOLDER/image, or this checkout. FOLDER/verdict.json, {"state": ..., "message": ...},
says how jobs end without being run.
Templates are launched: see templates_stand_in.py.
"""

import base64
import email
import email.parser
import http.server
import json
import os
import re
import sys
import tarfile
import threading
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests import programs
from tests.deploy.templates_stand_in import Templates
from tests.storage.cloud_storage import Refused, Stored, Xml, content, described

OBJECT = re.compile(
    r"(?:/upload|/download)?/storage/v1/b/([^/]+)/o(?:/([^/]+))?(?:/(?:rewriteTo|copyTo)/b/(.+)/o/(.+))?"
)
JSON = re.compile(r"(?:/upload|/download)?/storage/v1/")
BUCKET = re.compile(r"/storage/v1/b/([^/]+)")
JOBS = re.compile(r"/v1b3/projects/([^/]+)/locations/([^/]+)/jobs(?:/([^/]+))?(?:/(messages|metrics))?")
LAUNCHES = re.compile(r"/v1b3/projects/([^/]+)/locations/([^/]+)/(templates|flexTemplates:launch)")
ARCHIVE = "workflow.tar.gz"
ERROR = 4  # JOB_MESSAGE_ERROR
IMAGE = Path(__file__).resolve().parents[2]  # stands for the image: it holds the program
Reply = tuple[int, dict[str, str], bytes]


def as_json(value: object, status: int = 200, **headers: str) -> Reply:
    return status, {"Content-Type": "application/json", **headers}, json.dumps(value).encode()


def missing(what: str) -> Reply:
    return as_json({"error": {"code": 404, "message": f"not found: {what}"}}, 404)


class Storage:
    """Objects as files: one folder a bucket, one file an object. Its answers are those of the JSON interface."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.uploads: dict[str, tuple[str, str, bytearray]] = {}

    def file(self, bucket: str, name: str) -> Path:
        return self.folder / bucket / quote(name, safe="")

    def has(self, bucket: str) -> bool:
        return (self.folder / bucket).is_dir()

    def names(self, bucket: str) -> list[str]:
        return [unquote(file.name) for file in (self.folder / bucket).glob("*")]

    def get(self, bucket: str, name: str) -> Stored | None:
        file = self.file(bucket, name)
        if not file.exists():
            return None
        about = file.stat()
        return Stored(file.read_bytes(), about.st_mtime_ns, about.st_mtime)

    def put(self, bucket: str, name: str, data: bytes) -> Stored:
        file = self.file(bucket, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"part-{threading.get_ident()}"
        part.write_bytes(data)
        part.replace(file)
        return self.get(bucket, name)  # type: ignore[return-value]

    def delete(self, bucket: str, name: str) -> None:
        self.file(bucket, name).unlink()

    def describe(self, bucket: str, name: str, found: Stored) -> dict[str, object]:
        import google_crc32c

        checksum = google_crc32c.Checksum(found.data).digest()  # Google's client wants it after an upload
        return {**described(bucket, name, found), "crc32c": base64.b64encode(checksum).decode()}

    def write(self, bucket: str, name: str, data: bytes) -> Reply:
        return as_json(self.describe(bucket, name, self.put(bucket, name, data)))

    def answer(self, method: str, target: str, headers: Message, body: bytes) -> Reply:
        url = urlsplit(target)
        asked = {key: values[0] for key, values in parse_qs(url.query).items()}
        if bucket := BUCKET.fullmatch(url.path):
            return as_json({"kind": "storage#bucket", "name": bucket[1], "id": bucket[1]})
        place = OBJECT.fullmatch(url.path)
        if not place:
            return missing(target)
        bucket, name = place[1], unquote(place[2] or "")
        if url.path.startswith("/upload"):
            return self.upload(method, target, bucket, asked, headers, body)
        if not name:
            here = sorted(each for each in self.names(bucket) if each.startswith(asked.get("prefix", "")))
            items = [self.describe(bucket, each, found) for each in here if (found := self.get(bucket, each))]
            return as_json({"kind": "storage#objects", "items": items})
        found = self.get(bucket, name)
        if found is None:
            return missing(f"{bucket}/{name}")
        if place[3]:
            to = place[3], unquote(place[4])
            resource = self.describe(*to, self.put(*to, found.data))
            size = resource["size"]
            return as_json({"done": True, "objectSize": size, "totalBytesRewritten": size, "resource": resource})
        if method == "DELETE":
            self.delete(bucket, name)
            return 204, {}, b""
        if url.path.startswith("/download") or asked.get("alt") == "media":
            try:
                return content(found, headers)
            except Refused as refused:
                return refused.reply()
        return as_json(self.describe(bucket, name, found))

    def upload(
        self, method: str, target: str, bucket: str, asked: dict[str, str], headers: Message, body: bytes
    ) -> Reply:
        if asked.get("uploadType") == "multipart":
            kind = headers["Content-Type"]
            boundary = b"--" + re.search(r'boundary="?([^";]+)', kind)[1].encode()  # type: ignore[index]
            about, data = (part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for part in body.split(boundary)[1:3])
            return self.write(bucket, json.loads(about)["name"], data)
        if method == "POST":
            key = str(len(self.uploads))
            self.uploads[key] = (bucket, asked.get("name") or json.loads(body)["name"], bytearray())
            return as_json({}, Location=f"http://{headers['Host']}{target}&upload_id={key}")
        bucket, name, data = self.uploads[asked["upload_id"]]
        data += body
        if headers.get("Content-Range", "").endswith("/*"):
            return 308, {"Range": f"bytes=0-{len(data) - 1}"}, b""
        return self.write(bucket, name, bytes(data))

    def batch(self, headers: Message, body: bytes) -> Reply:
        """Answer several requests in one, in their order."""
        head = b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n"
        answers = []
        for part in email.parser.BytesParser().parsebytes(head + body).get_payload():
            line, _, rest = part.get_payload().lstrip().partition("\n")  # type: ignore[union-attr]
            method, target, _ = line.split()
            status, extra, data = self.answer(method, target, email.message_from_string(rest), b"")
            shown = "".join(f"{key}: {value}\r\n" for key, value in extra.items())
            answers.append(
                "--next\r\nContent-Type: application/http\r\n\r\n"
                f"HTTP/1.1 {status} Said\r\n{shown}\r\n{data.decode()}\r\n"
            )
        return 200, {"Content-Type": 'multipart/mixed; boundary="next"'}, ("".join(answers) + "--next--").encode()


class Dataflow:
    """Jobs: what was asked for, and how they went."""

    def __init__(self, folder: Path, storage: Storage, port: int):
        self.folder, self.storage, self.port = folder, storage, port
        self.jobs: list[dict[str, object]] = []
        self.ends: dict[str, tuple[str, str]] = {}
        (folder / "jobs").mkdir(exist_ok=True)

    def answer(self, method: str, target: str, body: bytes) -> Reply:
        if found := LAUNCHES.fullmatch(urlsplit(target).path):
            project, region, kind = found.groups()
            if kind == "templates":
                return Templates(self).launch(project, region, json.loads(body))
            status, said = Templates(self).launch_flex(project, region, json.loads(body))
            return as_json(said, status)
        found = JOBS.fullmatch(urlsplit(target).path)
        if not found:
            return missing(target)
        project, region, name, what = found.groups()
        if method == "POST":
            return self.create(project, region, json.loads(body))
        if method == "PUT":
            self.ends[name] = "JOB_STATE_CANCELLED", ""
            with open(self.folder / "jobs/cancelled", "a") as file:
                print(name, file=file)
        state, message = self.ends.get(name or "", ("JOB_STATE_RUNNING", ""))
        if what == "messages":
            said = {"id": "1", "time": now(), "messageText": message, "messageImportance": ERROR}
            return as_json({"jobMessages": [said] if message else []})
        if what == "metrics":
            return as_json({"metrics": []})
        return as_json({"id": name, "projectId": project, "location": region, "currentState": state})

    def create(self, project: str, region: str, job: dict[str, object]) -> Reply:
        key = f"job-{len(self.jobs)}"
        self.jobs.append(job)
        (self.folder / "jobs" / f"{key}.json").write_text(json.dumps(job, indent=1))
        verdict = self.folder / "verdict.json"
        if verdict.exists():
            told = json.loads(verdict.read_text())
            self.ends[key] = told["state"], told["message"]
        else:
            threading.Thread(target=self.run, args=(key, job), daemon=True).start()
        known = {"id": key, "projectId": project, "location": region, "name": job["name"]}
        return as_json(known | {"currentState": "JOB_STATE_PENDING", "createTime": now()})

    def run(self, key: str, job: dict) -> None:
        """Run a job from what was staged: the pipeline, and the package's archive."""
        place = job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"].removeprefix("gs://")
        bucket, _, name = place.partition("/")
        folder = self.folder / "jobs" / key
        folder.mkdir()
        package = self.storage.file(bucket, f"{os.path.dirname(name)}/{ARCHIVE}")
        source = self.folder / "image" if (self.folder / "image").exists() else IMAGE
        if package.exists():
            with tarfile.open(package) as archive:
                archive.extractall(folder, filter="data")
            (source,) = folder.iterdir()
        (folder / "run_staged.py").write_text(RUN)
        done = programs.run(
            ["run_staged", self.storage.file(bucket, name)],
            libraries="dataflow",
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": f"{source}{os.pathsep}{folder}",
                "STORAGE_EMULATOR_HOST": f"http://localhost:{self.port}",
                "MOLINO_CACHE": str(self.folder / "cache-of-a-worker"),
            },
            check=False,
        )
        (self.folder / "jobs" / f"{key}.log").write_text(done.stdout + done.stderr)
        self.ends[key] = ("JOB_STATE_FAILED", done.stderr) if done.returncode else ("JOB_STATE_DONE", "")


RUN = """
import sys
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import EmbeddedPythonEnvironment

with open(sys.argv[1], "rb") as file:
    pipeline = beam_runner_api_pb2.Pipeline.FromString(file.read())
for environment in pipeline.components.environments.values():
    environment.CopyFrom(EmbeddedPythonEnvironment.default().to_runner_api(None))
FnApiRunner().run_via_runner_api(pipeline, PipelineOptions([])).wait_until_finish()
"""


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    storage: Storage
    xml: Xml
    dataflow: Dataflow

    def log_message(self, *_: object) -> None:
        pass

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def answer(self) -> None:
        body = self.body()
        if self.path == "/token":
            reply = as_json({"access_token": "a-token-of-the-stand-in", "expires_in": 3600, "token_type": "Bearer"})
        elif self.path.startswith("/v1b3/"):
            reply = self.dataflow.answer(self.command, self.path, body)
        elif self.path.startswith("/batch/"):
            with self.xml.lock:
                reply = self.storage.batch(self.headers, body)
        elif JSON.match(self.path):
            with self.xml.lock:
                reply = self.storage.answer(self.command, self.path, self.headers, body)
        else:
            reply = self.xml.answer(self.command, self.path, self.headers, body)
        status, headers, data = reply
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer  # noqa: N815


def main() -> None:
    folder = Path(sys.argv[1])
    (folder / "objects").mkdir(parents=True, exist_ok=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.storage = Storage(folder / "objects")
    Handler.xml = Xml(Handler.storage)
    Handler.dataflow = Dataflow(folder, Handler.storage, server.server_port)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
