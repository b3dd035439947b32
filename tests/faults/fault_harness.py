"""Start `molino` in a process of its own, disturb it, and compare what it leaves behind with an undisturbed run."""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from molino.jobs.run import recheck
from molino.jobs.run.card import CARD
from molino.transforms.manifest import MANIFEST, STAGING, data_files, owned_paths
from tests import programs

ROOT = Path(__file__).resolve().parents[2]
SMALL_BLOCKS = (
    "from molino.jobs import names; names.BLOCK_BYTES = 20_000"  # so that a small file has many blocks and shards
)
# another hash seed, locale and time zone: what must not matter, and is tried together with worker processes
ANOTHER_USERS = {"PYTHONHASHSEED": "1", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ANOTHER_USERS |= {"TZ": "Pacific/Kiritimati"}
# Python only prints what goes wrong in this file, and the run would go on undisturbed
DISTURB = """
import os, traceback
try:
    import disturbance
except Exception:
    traceback.print_exc()
    os._exit(70)
"""
DEADLINE = 120
MARK = re.compile(r"(-[0-9a-f]{8,})+\.parquet\b")  # what a data file's name has besides its number
NOTE = f"{STAGING}/last_error.json"  # what a failed run leaves besides finished work units


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a process ended, and what it said."""

    code: int
    out: str
    err: str


def environment(folder: Path | None = None, patch: str = "", **variables: str) -> dict[str, str]:
    """Return the environment of a run; `patch` is Python that it, and each of its workers, executes at its start."""
    path = str(ROOT)
    if patch:
        place = folder / f"patch-{hashlib.sha256(patch.encode()).hexdigest()[:8]}"
        place.mkdir(parents=True, exist_ok=True)
        (place / "disturbance.py").write_text(patch)
        (place / "sitecustomize.py").write_text(DISTURB)
        path = f"{place}{os.pathsep}{path}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MOLINO_")}
    return kept | {"PYTHONPATH": path, **variables}


def changed_copy(place: Path) -> Path:
    """Make a copy of the package in a folder, with other code by one line, and return the folder."""
    shutil.copytree(ROOT / "molino", place / "molino", ignore=shutil.ignore_patterns("__pycache__"))  # links as folders
    with (place / "molino/transforms/names/people.py").open("a") as file:
        file.write("ADDED = 1\n")
    return place


def start(*arguments: object, env: dict[str, str] | None = None, cwd: Path | None = None, **how) -> subprocess.Popen:
    """Start `molino` with the arguments; `how` as subprocess.Popen takes it."""
    return programs.popen(["molino", *arguments], env=env or environment(), cwd=cwd, **how)


def end(process: subprocess.Popen, seconds: float = DEADLINE) -> Ended:
    """Wait for a process; one that hangs is killed and fails the test."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        _, err = process.communicate()
        raise AssertionError(f"still at work after {seconds} s: {err.decode(errors='replace')[-2000:]}") from None
    return Ended(process.returncode, out.decode(), err.decode())


def molino(*arguments: object, **how) -> Ended:
    """Run `molino` to its end."""
    return end(start(*arguments, **how))


def names(source: object, output: Path, *options: object, **how) -> Ended:
    """Run the names job on a file, or on a list of them."""
    sources = source if isinstance(source, (list, tuple)) else [source]
    return molino("names", "--input", *sources, "--output", output, "--quiet", *options, **how)


def titles(source: object, output: Path, model: Path, *options: object, **how) -> Ended:
    """Run the titles job on a file, or on a list of them, with one model."""
    sources = source if isinstance(source, (list, tuple)) else [source]
    arguments = ("--input", *sources, "--output", output, "--model", f"m={model}", "--quiet", *options)
    return end(start("titles", *arguments, **how), 300)  # TensorFlow is slow to start beside other work


def usual(options: dict[str, object], given: Sequence[object]) -> list[object]:
    """Return the usual options, with their values, but for those that are given in another way, and then the given."""
    return [word for flag, value in options.items() if flag not in given for word in (flag, value)] + list(given)


def side_by_side(calls: list[Callable[[], object]]) -> list:
    """Call the functions, two at a time, and return their results in order."""
    with ThreadPoolExecutor(2) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def files_below(folder: Path) -> set[str]:
    """Return the relative paths of all files, and of folders that hold nothing (with a slash at the end)."""
    found = set()
    for top, folders, files in os.walk(folder):
        relative = os.path.relpath(top, folder)
        found |= {os.path.normpath(os.path.join(relative, name)) for name in files}
        if not folders and not files and relative != ".":
            found.add(relative + "/")
    return found


def state_of(folder: Path) -> dict[str, tuple[int, str]]:
    """Return time of change and sha256 of every file, but for the note of a run that failed."""
    return {
        path: ((folder / path).stat().st_mtime_ns, sha256(folder / path))
        for path in files_below(folder) - {NOTE}
        if not path.endswith("/")
    }


def is_untouched(output: Path) -> bool:
    """Return whether an output that was not there holds nothing but the note of a run that failed."""
    return not output.exists() or files_below(output) == {NOTE}


def sha256(path: Path) -> str:
    """Return the sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def manifest_of(output: Path) -> dict:
    """Return an output's manifest."""
    return json.loads((output / MANIFEST).read_text())


def bytes_of(output: Path) -> dict[str, str]:
    """Return the sha256 of all that the manifest lists, without what stands for content in the names of shards."""
    manifest = manifest_of(output)
    found = {MARK.sub("", f["path"]): f["sha256"] for f in [*data_files(manifest), *manifest["views"]]}
    if CARD in found:  # has these names
        found[CARD] = hashlib.sha256(MARK.sub("", (output / CARD).read_text()).encode()).hexdigest()
    return found


def digests_of(output: Path) -> dict[str, str]:
    """Return the digest of every data set."""
    return {name: dataset["digest"] for name, dataset in manifest_of(output)["datasets"].items()}


def assert_complete(output: Path, like: Path) -> None:
    """Assert that an output is whole, has nothing but its manifest's files, and holds what the run `like` holds."""
    manifest, wrong = recheck.verify(str(output))
    assert wrong == []
    assert files_below(output) - {NOTE} == owned_paths(manifest)
    assert digests_of(output) == digests_of(like)
    assert manifest["digest"] == manifest_of(like)["digest"]
    assert bytes_of(output) == bytes_of(like)


def assert_failed(ended: Ended, code: int, *words: object) -> None:
    """Assert the exit code, and that the last line on standard error says the words; no traceback, no other noise."""
    assert ended.code == code, ended.err
    last = ended.err.strip().splitlines()[-1]
    assert [str(word) for word in words if str(word) not in last] == [], ended.err
    assert "Traceback" not in ended.err


def wait_until(happened: Callable[[], object], process: subprocess.Popen | None = None, seconds: float = 60) -> None:
    """Wait until a condition holds while a process is at work."""
    limit = time.monotonic() + seconds
    while not happened():
        assert process is None or process.poll() is None, process.communicate()[1].decode()[-2000:]
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.02)


def descendants(pid: int) -> set[int]:
    """Return the processes that a process started, and those that they started."""
    children: dict[int, set[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, set()).add(int(entry.name))

    def below(of: int) -> Iterator[int]:
        for child in children.get(of, ()):
            yield child
            yield from below(child)

    return set(below(pid))


def is_alive(pid: int) -> bool:
    """Return whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def assert_gone(pids: set[int]) -> None:
    """Assert that processes end, within ten seconds."""
    wait_until(lambda: not [pid for pid in pids if is_alive(pid)], seconds=10)
