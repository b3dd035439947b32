"""Object stores on the loopback interface, programs that work with them, and a look at what they hold."""

import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAKE = {
    "s3": """
import boto3
store = boto3.client("s3")
store.create_bucket(Bucket="mill")
put = lambda path, key: store.upload_file(path, "mill", key)
""",
    "gs": """
import os, urllib.request
from molino.transforms.files import storage
make = urllib.request.Request(os.environ["STORAGE_EMULATOR_HOST"] + "/storage/v1/b", data=b'{"name": "mill"}')
urllib.request.urlopen(make).close()
put = lambda path, key: storage.write_bytes("gs://mill/" + key, pathlib.Path(path).read_bytes())
""",
}
PUT = """
import sys
folder = pathlib.Path(sys.argv[1])
for path in folder.rglob("*"):
    if path.is_file():
        put(str(path), f"in/{path.relative_to(folder)}")
"""
MOLINO = """
import sys
from molino.jobs import cli
sys.argv[0] = "molino"
sys.exit(cli.main())
"""
LIST = """
import json, sys
from molino.transforms.files import storage
storage.use_options([])
print(json.dumps([file.path for file in storage.list_tree(sys.argv[1])]))
"""
MANIFEST = """
import json, sys
from molino.jobs.run.output import read_manifest
from molino.transforms.files import storage
storage.use_options([])
print(json.dumps(read_manifest(sys.argv[1])))
"""


class Store:
    """A store with a bucket `mill`, and programs that use it."""

    def __init__(self, scheme, server, home, environment):
        self.scheme, self.server, self.home, self.environment = scheme, server, home, environment
        assert server.stdout.readline() == "ready\n"

    def url(self, *names):
        return "/".join([f"{self.scheme}://mill", *names])

    def ask(self, **order):
        print(json.dumps(order), file=self.server.stdin, flush=True)
        return int(self.server.stdout.readline())

    def start(self, program, *arguments, **environment):
        """Start a program, given as text."""
        self.started = getattr(self, "started", 0) + 1
        out, err = (self.home / f"{self.started}.{name}" for name in ("out", "err"))
        out.touch()
        order = {"program": program, "arguments": list(map(str, arguments)), "environment": environment}
        return Started(self, self.ask(**order, out=str(out), err=str(err)), out, err)

    def run(self, program, *arguments, **environment):
        """Run a program; return exit code, standard output and standard error."""
        return self.start(program, *arguments, **environment).end()

    def molino(self, *words, **environment):
        return self.run(MOLINO, *words, **environment)

    def objects(self, *names):
        """Return the objects below a folder, without its name."""
        folder = self.url(*names)
        return {path.removeprefix(f"{folder}/") for path in self.tell(LIST, folder)}

    def manifest(self, *names):
        """Return the manifest of an output, None where there is none."""
        return self.tell(MANIFEST, self.url(*names))

    def tell(self, program, *arguments):
        """Return what a program prints last, as JSON."""
        code, out, wrong = self.run(program, *arguments)
        assert code == 0, wrong
        return json.loads(out.splitlines()[-1])

    def fill(self, folder):
        """Make the bucket, and put the files of a folder into in/."""
        code, _, wrong = self.run("import pathlib" + MAKE[self.scheme] + PUT, folder)
        assert code == 0, wrong


@dataclasses.dataclass(frozen=True)
class Started:
    """A program at work."""

    store: Store
    process: int
    out: Path
    err: Path

    def end(self):
        """Wait for its end; return exit code, standard output and standard error."""
        code = self.store.ask(wait=self.process)
        return code, self.out.read_text(), self.err.read_text()

    def wait_for(self, text):
        """Wait until it has printed something."""
        while text not in self.out.read_text():
            os.kill(self.process, 0)
            time.sleep(0.05)


@contextlib.contextmanager
def serve(scheme, python, home):
    """Run a server of a store for as long as the block lasts; give the store, which is empty."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GOOGLE_", "MOLINO_"))}
    environment = keep | {"XDG_CACHE_HOME": str(home / "cache"), "TMPDIR": str(home), "TF_CPP_MIN_LOG_LEVEL": "3"}
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    if scheme == "s3":
        command = [python, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)]
        environment |= {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "made",
            "AWS_SECRET_ACCESS_KEY": "up",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    else:
        command = [python, Path(__file__).with_name("cloud_storage.py"), str(port)]
        environment["STORAGE_EMULATOR_HOST"] = url
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_for(port, server, home / "log")
        command = [python, Path(__file__).with_name("fork_server.py")]
        environment["PYTHONPATH"] = str(ROOT)
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as programs:
            yield Store(scheme, programs, home, environment)
    finally:
        server.terminate()
        server.wait()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(port, server, log):
    for _ in range(600):
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert server.poll() is None, log.read_text()[-2000:]
        time.sleep(0.1)
    raise AssertionError(f"no server: {log.read_text()[-2000:]}")
