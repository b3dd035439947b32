"""Measure the constants of `molino plan` and write them to jobs/constants.json: python benchmarks/constants.py.

Each job runs whole, on one core and on two, on made-up inputs of at least two sizes, so that what a row costs and what
the start costs stand apart. The processor time of each stage ends with the last report of progress that it sends.
"""

import argparse
import contextlib
import dataclasses
import datetime
import glob
import itertools
import json
import math
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, Python looks only in this file's folder

from benchmarks import constants_inputs, harness  # noqa: E402
from benchmarks.constants_fit import CORES, Ran, Spec, constants_of  # noqa: E402
from benchmarks.constants_flink import is_fetched, measure_flink  # noqa: E402
from molino.jobs.commands import plan as plan_command  # noqa: E402
from molino.jobs.forecast.estimate import CONSTANTS  # noqa: E402
from molino.jobs.runners.flags import FLINK  # noqa: E402
from molino.transforms.progress import ENVIRONMENT  # noqa: E402

PIECES, TURNS = (100, 80_000), 20
PACKAGES = ("apache-beam", "numpy", "pyarrow")
WIDTH = 140  # of a line of the file
UNITS = {
    "start": "by cores: s on the clock, before the first row and after the last",
    "efficiency": "by cores: CPU seconds done per core and second, without the start",
    "seconds": "by stage: CPU s a million of each amount, on one core",
    "written": "bytes of each amount; fixed: bytes of any run",
    "kept": "rows of a data set for each row read",
    "memory": "bytes: base of a process; of each worker; chunk of each byte of a worker's part; then of each amount",
    "runs": "what was measured: s and CPU s on one core, s on two, bytes at the peak on one and on two",
    "shuffle": "CPU s a million: pieces written; read, each from a bucket file that is opened; passed over in one; "
    "messages of a runner's shuffle written and read, without what the runner does with them",
    "runners": "by runner, job, workers: start in s; work as a multiple of the embedded runner's CPU time; runs in s",
}


SPECS = {
    "names": Spec(
        stages=("read", "write"),
        seconds={"read": ("rows",), "write": ("rows",), "finish": ("rows",)},
        written=("rows",),
        memory=("worker", "chunk"),
        datasets=("people",),
    ),
    "titles": Spec(
        stages=("read", "reduce", "write"),
        seconds={"read": ("rows",), "reduce": ("rows",), "write": ("rows", "numbers"), "finish": ()},
        written=("rows", "text", "vectors"),
        memory=("worker", "chunk"),
        datasets=("titles",),
    ),
    "predict": Spec(
        stages=("read", "write"),
        seconds={"read": ("rows",), "write": ("rows",), "finish": ()},
        written=("rows",),
        memory=("worker",),
        datasets=("predictions",),
    ),
    "pca": Spec(
        stages=("read", "write"),
        seconds={"read": ("numbers", "squares"), "write": ("numbers", "squares"), "finish": ()},
        written=("rows", "vectors"),
        memory=("worker",),
    ),
    "whales": Spec(
        stages=("read",),
        seconds={"read": ("images", "pixels.original", "pixels.fast", "pixels.saliency"), "finish": ("images",)},
        written=("images", "cropped", "shown"),
        memory=("chunk",),
        datasets=("regions",),
    ),
    "shapes": Spec(
        stages=("read",),
        seconds={"read": ("training", "asked", "pictures", "points"), "finish": ("networks",)},
        written=("points", "predictions", "pictures"),
        memory=("worker", "split", "points"),
    ),
}
PARTS = ["shuffle", *SPECS, "flink"]


# --- measuring


class Clock:
    """What a program tells of itself while it runs, as a child of this process.

    Attributes:
      stages: CPU seconds at the last report of each stage.
      threads: by process and thread, CPU seconds, and seconds that it was ready and others had its core; Linux.
    """

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}
        self.threads: dict[tuple[int, int], tuple[float, float]] = {}

    def look(self, stage: str) -> None:
        """Note where the program is; `stage` has just been reported, or is empty."""
        for child in psutil.Process().children():
            if stage:
                self.stages[stage] = sum(child.cpu_times()[:4])
            for process in (child, *child.children(recursive=True)):
                for path in glob.glob(f"/proc/{process.pid}/task/*/schedstat"):
                    with contextlib.suppress(OSError):
                        busy, waited, _ = Path(path).read_text().split()
                        self.threads[process.pid, int(path.split("/")[4])] = int(busy) / 1e9, int(waited) / 1e9

    def waited(self, workers: int) -> float:
        """Return the seconds that the program lost to others: of its main threads, and of its workers on average."""
        mains = [waited for (process, thread), (_, waited) in self.threads.items() if process == thread]
        others = sorted((at for (process, thread), at in self.threads.items() if process != thread), reverse=True)
        busiest = [waited for _, waited in others[:workers]] if workers > 1 else []
        return sum(mains) + sum(busiest) / max(1, len(busiest))


@contextlib.contextmanager
def clock_stages() -> Iterator[Clock]:
    """Yield the clock of the program that is started meanwhile."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"{folder}/socket")
        listener.settimeout(0.05)
        ended = threading.Event()

        def listen() -> None:
            while not ended.is_set():
                stage = ""
                with contextlib.suppress(TimeoutError):
                    stage = json.loads(listener.recv(4096))["stage"]
                with contextlib.suppress(psutil.Error):
                    clock.look(stage)

        thread = threading.Thread(target=listen)
        thread.start()
        os.environ[ENVIRONMENT] = f"{folder}/socket"
        try:
            yield clock
        finally:
            del os.environ[ENVIRONMENT]
            ended.set()
            thread.join()


def run_all(job: str, data: Path, lines: Sequence[tuple[str, ...]], rounds: int) -> list[Ran]:
    """Run the command lines on one core and on two, until each has had its rounds; the fastest counts.

    What was measured is kept in the folder of the inputs: an interrupted call is taken up by the next.
    """
    kept = data / f"measured-{job}.json"
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    for turn, line, cores in itertools.product(range(rounds), lines, CORES):
        key = f"{shlex.join(line)} on {cores}"
        one = found.setdefault(key, {"runs": 0, "wall": math.inf, "cpu": math.inf, "peak": 0, "stages": {}})
        if one["runs"] > turn:
            continue
        measured, stages, manifest = run_once(job, data, line, cores)
        if measured.cpu < one["cpu"]:
            one |= {"cpu": measured.cpu, "stages": stages}
        one |= {"runs": one["runs"] + 1, "wall": min(one["wall"], measured.wall)}
        one |= {"peak": max(one["peak"], measured.peak), "manifest": manifest}
        kept.write_text(json.dumps(found))
        told = ", ".join(f"{name} {cpu:.2f}" for name, cpu in stages.items())
        print(
            f"{key}: {measured.wall:.2f} s, {measured.cpu:.2f} CPU s ({told}), {measured.peak / 1e6:.0f} MB", flush=True
        )
    return [_collect(job, line, found) for line in lines]


def run_once(
    job: str, data: Path, line: tuple[str, ...], cores: int
) -> tuple[harness.Measure, dict[str, float], dict[str, Any]]:
    """Run a job once; return what it took, CPU seconds at the end of each stage, and what the manifest tells."""
    output = data / "out"
    shutil.rmtree(output, ignore_errors=True)
    words = ["benchmarks/pin.py", str(cores), "-m", "molino", job, *line, "--output", str(output)]
    with clock_stages() as clock:
        measured = harness.measure([sys.executable, *words, "--workers", str(cores), "--quiet"], data / "log")
    # the clock as it would have been alone on the machine
    alone = max(measured.cpu / cores, measured.wall - clock.waited(cores))
    measured = dataclasses.replace(measured, wall=alone)
    manifest = json.loads((output / "_manifest.json").read_text())
    return measured, clock.stages, {name: manifest[name] for name in ("counters", "balance", "used")}


def _collect(job: str, line: tuple[str, ...], found: Mapping[str, Any]) -> Ran:
    runs = {cores: found[f"{shlex.join(line)} on {cores}"] for cores in CORES}
    size = plan_command.size_of(job, *plan_command.parser_of(job).parse_strictly(line))
    measures = {
        cores: harness.Measure(wall=one["wall"], cpu=one["cpu"], peak=one["peak"]) for cores, one in runs.items()
    }
    return Ran(arguments=line, size=size, measures=measures, stages=runs[1]["stages"], manifest=runs[1]["manifest"])


def measure_pieces(folder: Path) -> dict[str, float]:
    """Return CPU seconds a million of what bucket files, and a runner's shuffle, cost besides the rows; see UNITS.

    By files of two rows a piece, with many pieces and with few, of which one is read: the differences are what pieces
    cost.
    """
    import pyarrow as pa

    from molino.transforms.rows.coder import ArrowBatchCoder
    from molino.transforms.rows.partition import Parts, cut_for_shards, write_buckets

    few, many = PIECES
    names = ["curp", "primer_apellido", "segundo_apellido", "nombre", "position"]
    write, find = {}, {}
    for shards in PIECES:
        numbers = np.arange(2 * shards)
        batch = pa.RecordBatch.from_arrays([pa.array([f"{n:018d}" for n in numbers])] * 4 + [pa.array(numbers)], names)
        started = time.process_time()
        paths = [write_buckets(cut_for_shards(batch, numbers // 2, shards, shards), str(folder)) for _ in range(TURNS)]
        write[shards] = (time.process_time() - started) / TURNS
        started = time.process_time()
        list(Parts(0, range(1), batch.schema, "position", files=paths))
        find[shards] = (time.process_time() - started) / TURNS
        for path in paths:
            Path(path).unlink()
    coder = ArrowBatchCoder()  # batch and numbers are those of many shards
    started = time.process_time()
    sent = [coder.encode(piece) for piece in cut_for_shards(batch, numbers // 2, many, many)]
    write_message = (time.process_time() - started) / many
    started = time.process_time()
    for message in sent:
        coder.decode(message)
    costs = {
        "write_message": write_message,
        "read_message": (time.process_time() - started) / many,
        "write_piece": (write[many] - write[few]) / (many - few),
        "read_piece": find[few],
        "pass_piece": (find[many] - find[few]) / (many - few),
    }
    return {name: max(0.0, 1e6 * cost) for name, cost in costs.items()}


LISTING = """
import resource, sys, time
sys.path.insert(0, ".")
from molino.transforms.files.list_files import Listing
from molino.transforms.images.list_images import Columns, list_images
from molino.transforms.files.storage import FileInfo
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
before, started = peak(), time.process_time()
files = [FileInfo(f"/sea/{i // 1000:05d}/w_{i:08d}.jpg", 900_000, 1e9 + i) for i in range(IMAGES)]
list_images([Listing(path="/sea", root="/sea/", files=files, skipped={})], Columns())
print((peak() - before) / IMAGES, (time.process_time() - started) / IMAGES)
"""


def measure_listing(images: int = 1_000_000) -> tuple[float, float]:
    """Return bytes of memory and CPU seconds that each image costs the program that lists them all.

    The files are only named: what the file system takes to list them comes on top.
    """
    words = [sys.executable, "-c", LISTING.replace("IMAGES", str(images))]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    size, seconds = map(float, done.stdout.split())
    return size, seconds


# --- the command


def show(value: Any, depth: int = 0) -> str:
    """Return JSON in which what fits into a line stands in one: a line for each thing that was measured.

    >>> print(show({"start": {"1": 1.5, "2": 1.8}, "command": "x"}))
    {
     "start": {"1": 1.5, "2": 1.8},
     "command": "x"
    }
    """
    text = json.dumps(value)
    if not isinstance(value, dict | list) or (depth and len(text) <= WIDTH):
        return text
    names = [f"{json.dumps(name)}: " for name in value] if isinstance(value, dict) else [""] * len(value)
    inner = value.values() if isinstance(value, dict) else value
    shown = [" " * (depth + 1) + name + show(each, depth + 1) for name, each in zip(names, inner, strict=True)]
    return text[0] + "\n" + ",\n".join(shown) + "\n" + " " * depth + text[-1]


def rounded(value: Any) -> Any:
    """Return constants with four digits: more were not measured."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {name: rounded(each) for name, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list) else value


def measure_job(job: str, data: Path, lines: Sequence[tuple[str, ...]], rounds: int) -> dict[str, Any]:
    """Return the constants of a job on the embedded runner."""
    found = constants_of(SPECS[job], run_all(job, data, lines, rounds))
    if job == "whales":
        found["memory"]["images"], seconds = measure_listing()
        found["seconds"]["list"] = {"images": 1e6 * seconds}
    return found


def _told(part: str) -> dict[str, str]:
    """Return when and on what a part is measured, and the command that repeats it."""
    facts, _, command = harness.machine_facts(PACKAGES, ["python", "benchmarks/constants.py", "--only", part])
    return {"measured": facts, "command": command.split("`")[1]}


def main(arguments: Sequence[str]) -> None:
    """Measure, and write the constants."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="JOB")
    made.add_argument("--data", type=Path, metavar="DIR", help="keep the inputs here (default: a temporary folder)")
    made.add_argument("--rounds", type=int, default=1, metavar="N", help="the fastest counts (default 1)")
    made.add_argument("--make", action="store_true", help="make the inputs in --data, and measure nothing")
    made.add_argument("--constants", type=Path, default=Path(CONSTANTS), metavar="FILE", help="default: %(default)s")
    given = made.parse_args(arguments)
    found = json.loads(given.constants.read_text()) if given.constants.exists() else {"jobs": {}, "runners": {}}
    with tempfile.TemporaryDirectory() as temporary:
        data = (given.data or Path(temporary)).resolve()
        data.mkdir(parents=True, exist_ok=True)
        for part in given.only:
            lines = constants_inputs.INPUTS[part](data) if part in SPECS else []
            if given.make:
                continue
            if part == "shuffle":
                found["shuffle"] = measure_pieces(data)
            elif part != "flink":
                found["jobs"][part] = _told(part) | measure_job(part, data, lines, given.rounds)
            elif is_fetched():
                jobs = [job for job in SPECS if job in found["jobs"]]
                found["runners"][FLINK] = _told(part) | {"jobs": measure_flink(data, jobs, found)}
            else:
                print("not measured: Flink; deploy/flink/fetch brings it", file=sys.stderr)
    if given.make:
        return
    order = {name: found["jobs"][name] for name in SPECS if name in found["jobs"]}
    whole = {"units": UNITS, "jobs": order, "shuffle": found.get("shuffle", {}), "runners": found["runners"]}
    text = show(rounded(whole))
    given.constants.write_text(text + "\n")
    print(f"{given.constants}, {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC")


if __name__ == "__main__":
    main(sys.argv[1:])
