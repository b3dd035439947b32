"""Starts this project's programs in processes that find large libraries imported: in a moment, not in seconds.

A server imports the libraries, and none of this project's code, so that a patch comes in time. Each program is a fork
of it that gets arguments, environment, current folder and files of its own, and ends as a new interpreter would.
"""

import contextlib
import ctypes
import gc
import importlib
import io
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import types
from pathlib import Path

PR_SET_PDEATHSIG = 1  # of sys/prctl.h
ROOT = Path(__file__).resolve().parents[1]
PYTHON = sys.executable
OF_JOBS = (
    *("apache_beam.runners.portability.fn_api_runner", "apache_beam.typehints.opcodes", "grpc._server"),
    *("numba", "obstore", "pyarrow.parquet", "pyarrow.dataset", "pyarrow.csv", "numpy.random", "xxhash", "tqdm"),
    *("zlib_ng.zlib_ng", "jinja2", "matplotlib.figure", "matplotlib.backends.backend_svg", "PIL.PngImagePlugin"),
    *("cv2", "simplejpeg", "yaml"),
)
LIBRARIES = {
    "beam": OF_JOBS,
    "dataflow": (*OF_JOBS, "apache_beam.runners.dataflow.dataflow_runner", "apache_beam.io.gcp.gcsfilesystem"),
    "tensorflow": ("tensorflow", "tensorflow_hub", "tensorflow_transform.beam", "keras", "numba"),
}
# what an interpreter or a library reads when it starts: a program with another value is started as any other is
AT_START = ("PYTHON", "LC_", "LANG", "LD_", "OMP_", "OPENBLAS_", "MALLOC_", "ARROW_", "KERAS_", "NUMBA_", "MPL", "CV_")
STARTED = []  # by the test at work
ASK_TENSORFLOW = ("molino", "run_staged")  # programs that start others for it
LATER = ("PYTHONPATH", "PYTHONSAFEPATH")
SERVERS = "TESTS_PROGRAMS"  # the variable that says where the servers listen


class Process:
    """A program at work, with what tests use of subprocess.Popen."""

    def __init__(self, args, pid, end, files):
        self.args, self.pid, self.returncode = args, pid, None
        self.stdin, self.stdout, self.stderr = files
        self._end = end
        self._readers = []
        STARTED.append(self)

    def __del__(self):
        for file in (self._end, self.stdin, self.stdout, self.stderr):
            if file and not self._readers:
                file.close()

    def poll(self):
        """Return the exit code, negative for a signal; None while the program is at work."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout=None):
        """Wait for the end and return the exit code; raise subprocess.TimeoutExpired after so many seconds."""
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._end, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired(self.args, timeout)
            told = self._end.recv(4)
            self.returncode = struct.unpack("i", told)[0] if told else -signal.SIGKILL  # the server is gone, and it too
            self._end.close()
        return self.returncode

    def communicate(self, input=None, timeout=None):
        """Wait for the end and return what the program wrote; may be called again after subprocess.TimeoutExpired."""
        limit = None if timeout is None else time.monotonic() + timeout
        if not self._readers:
            if self.stdin:
                with contextlib.suppress(BrokenPipeError), self.stdin:
                    self.stdin.write(input or b"")
            self._readers = [_Reader(file) for file in (self.stdout, self.stderr)]
        for reader in self._readers:
            reader.join(None if limit is None else max(0, limit - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout)
        self.wait(None if limit is None else max(0, limit - time.monotonic()))
        return tuple(reader.content for reader in self._readers)

    def send_signal(self, number):
        """Send the program a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        """End it by SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self):
        """End it by SIGKILL."""
        self.send_signal(signal.SIGKILL)


class _Reader(threading.Thread):
    def __init__(self, file):
        super().__init__(daemon=True)
        self.file, self.content = file, None
        self.start()

    def run(self):
        if self.file:
            self.content = self.file.read()
            self.file.close()


def popen(words, *, env, libraries="", cwd=None, forks=True, **how):
    """Start `python -m ...` with pipes for what it writes: as a fork of a server, where nothing speaks against it.

    Args:
      words: the module and its arguments.
      libraries: which of LIBRARIES it finds imported; by default TensorFlow's for a training, else Beam's.
      forks: False where it matters how long the libraries are imported.
      how: as subprocess.Popen takes it; a fork takes `stdin=PIPE` and `start_new_session` alone.
    """
    words = [str(word) for word in words]
    libraries = libraries or ("tensorflow" if words[1:2] in (["train"], ["model"]) else "beam")
    forks = forks and SERVERS in os.environ and how.keys() <= {"stdin", "start_new_session"}
    if forks and _at_start(env) == _at_start(os.environ):
        return _fork(words, env=env, libraries=libraries, cwd=cwd, **how)
    files = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-m", *words], env=env, cwd=cwd, **files | how)


def _at_start(env):
    return {name: value for name, value in env.items() if name.startswith(AT_START) and name not in LATER}


def _fork(words, *, env, libraries, cwd, stdin=None, stderr=None, start_new_session=False):
    with contextlib.ExitStack() as theirs:  # what only the program needs
        ends = [os.pipe() for _ in range(3)]
        files = [os.fdopen(ends[0][1], "wb"), os.fdopen(ends[1][0], "rb"), os.fdopen(ends[2][0], "rb")]
        if stderr:
            os.dup2(stderr.fileno(), ends[2][1])
            files[2].close()
            files[2] = None
        for file in (ends[0][0], ends[1][1], ends[2][1]):
            theirs.callback(os.close, file)
        if stdin is None:
            files[0].close()
            files[0] = None
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        begun = theirs.enter_context(contextlib.ExitStack())  # what is closed where no server answers
        for file in (end, *filter(None, files)):
            begun.enter_context(file)
        end.connect(_address(libraries))
        order = {
            "words": words,
            "environment": env,
            "folder": os.path.abspath(cwd or "."),
            "session": start_new_session,
        }
        body = json.dumps(order).encode("utf-8", "surrogateescape")
        socket.send_fds(end, [struct.pack("i", len(body))], [ends[0][0], ends[1][1], ends[2][1]])
        end.sendall(body)
        [pid] = struct.unpack("i", end.recv(4, socket.MSG_WAITALL))
        begun.pop_all()
    return Process(["python", "-m", *words], pid, end, files)


def _address(libraries):
    return os.path.join(os.environ[SERVERS], libraries)


def end_started():
    """End what a test has started and left at work, as one that fails does."""
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait(60)  # or whoever keeps it takes it for one that is at work


@contextlib.contextmanager
def serve(folder):
    """Let popen find servers for as long as the block lasts; one starts when it is first asked for anything."""
    os.environ[SERVERS] = str(folder)
    try:
        with serve_by("beam", sys.executable), serve_by("tensorflow", sys.executable):
            yield
    finally:
        del os.environ[SERVERS]


@contextlib.contextmanager
def serve_by(name, python):
    """Let popen find one of the servers, which is run by an interpreter."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(_address(name))
        listener.listen(64)
        server = subprocess.Popen(
            [python, __file__, name, str(listener.fileno())],
            cwd=ROOT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
        server.wait()
    with server.stdin:  # the server ends when it is closed
        yield


class _Server:
    """Forks a program for every connection, and says there its process id, and its exit code when it has ended."""

    def __init__(self, libraries, listener):
        self.libraries, self.listener = libraries, listener
        self.at_work = {}  # process id: connection

    def serve(self):
        """Serve until standard input is closed; return the order of a program in the process that is to run it."""
        woken, wakes = socket.socketpair()
        wakes.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            for file in (0, self.listener, woken):
                selector.register(file, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj == 0:
                        self.stop()
                    elif key.fileobj is woken:
                        woken.recv(4096)
                        self.reap()
                    elif order := self.start():
                        for file in (woken, wakes, self.listener, *self.at_work.values()):
                            file.close()
                        return order

    def stop(self):
        os._exit(0)  # and the kernel ends what is at work

    def reap(self):
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                connection = self.at_work.pop(ended[0])
                with contextlib.suppress(OSError):  # nobody waits for it
                    connection.sendall(struct.pack("i", os.waitstatus_to_exitcode(ended[1])))
                connection.close()

    def start(self):
        """Take an order and fork; return the order in the new process."""
        connection, _ = self.listener.accept()
        try:
            head, files, _, _ = socket.recv_fds(connection, 4, 3)
            body = connection.recv(struct.unpack("i", head)[0], socket.MSG_WAITALL)
            order = json.loads(body.decode("utf-8", "surrogateescape")) | {"files": files}
        except (OSError, ValueError, struct.error):  # whoever asked was killed
            return None
        for name in self.libraries:  # not before they are asked for
            if name not in sys.modules:
                importlib.import_module(name)
                if name == "numba":  # what compiling needs is imported by the first function that is compiled
                    sys.modules["numba"].njit(lambda: 0)()
        gc.freeze()  # or looking for garbage would copy all that is shared
        pid = os.fork()
        if not pid:
            connection.close()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return order
        self.at_work[pid] = connection
        with contextlib.suppress(OSError):
            connection.sendall(struct.pack("i", pid))
        for file in files:
            os.close(file)
        return None


def _become(order):
    """Be the process of a program: its environment, folder, files and import path."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if order["session"]:
        os.setsid()
    for number, file in enumerate(order["files"]):
        os.dup2(file, number)
        os.close(file)
    os.chdir(order["folder"])
    servers = os.environ[SERVERS]
    os.environ.clear()
    os.environ.update(order["environment"] | {SERVERS: servers})
    time.tzset()
    tempfile.tempdir = None  # some library has asked for it
    # what one program has compiled of this project, the next one finds
    sys.dont_write_bytecode, sys.pycache_prefix = False, os.path.join(servers, "compiled")
    places = [place for place in order["environment"].get("PYTHONPATH", "").split(os.pathsep) if place]
    sys.path[:] = [*places, *sys.path]
    sys.argv = order["words"]
    for place in places:
        if os.path.exists(custom := os.path.join(place, "sitecustomize.py")):  # Python would have run it
            runpy.run_path(custom, run_name="sitecustomize")
            break


@contextlib.contextmanager
def tensorflow_at_hand():
    """Let what this process asks TensorFlow in a process of its own be a fork that finds it imported."""
    from molino.transforms import processes

    processes.subprocess, whole = types.SimpleNamespace(Popen=_popen, PIPE=subprocess.PIPE), processes.subprocess
    try:
        yield
    finally:
        processes.subprocess = whole


def run(words, *, env=None, cwd=None, check=True, **how):
    """Run `python -m ...` to its end, as popen starts it; return a subprocess.CompletedProcess with texts."""
    process = popen(words, env=env or os.environ | {"PYTHONPATH": str(ROOT)}, cwd=cwd, **how)
    out, err = process.communicate()
    done = subprocess.CompletedProcess(process.args, process.returncode, out.decode(), err.decode())
    assert not check or done.returncode == 0, done.stderr[-3000:]
    return done


def _popen(command, *, stderr, env, **how):
    """Start `python -m MODULE` as subprocess.Popen does, in a process that finds TensorFlow imported."""
    if command[0] != PYTHON:  # a test has another in its place
        return subprocess.Popen(command, stderr=stderr, env=env, **how)
    session = {"start_new_session": True}
    process = _fork(command[2:], env=env, libraries="tensorflow", cwd=None, stdin=True, stderr=stderr, **session)
    process.stdin, process.stdout = io.TextIOWrapper(process.stdin), io.TextIOWrapper(process.stdout)
    return process


def main():
    """Be a server, and in its forks the programs."""
    name, listener = sys.argv[1], socket.socket(fileno=int(sys.argv[2]))
    del sys.path[0]  # this file's folder
    if os.fork():
        os._exit(0)  # no child of the tests' process: a command that fails there ends all that it has
    order = _Server(LIBRARIES[name], listener).serve()
    del listener
    _become(order)
    with tensorflow_at_hand() if order["words"][0] in ASK_TENSORFLOW else contextlib.nullcontext():
        runpy.run_module(order["words"][0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
