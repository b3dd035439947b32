"""What runs here, and what is missing."""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from jobs import VERSION, runners
from jobs.options import DATA, DONE, EMBEDDED, RUNNERS, Parser

DESCRIPTION = """
Say which runner a job will really use, and whether it can: versions, Java, Prism, credentials, jars, disk and memory,
and for everything that is missing how to get it.
"""
NEEDED = ("apache-beam", "jinja2", "matplotlib", "numpy", "obstore", "pyarrow", "pyyaml", "tqdm")
EXTRAS = {
    "dataflow": ("google-cloud-dataflow-client", "the Dataflow runner"),
    "aws": ("boto3", "the profiles and keys in ~/.aws"),
    "images": ("opencv-python-headless", "the whales job"),
    "tensorflow": ("tensorflow", "the titles job"),
    "shapes": ("numba", "the shapes job"),
}
OK, MISSING, WRONG = "ok", "--", "!!"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 1 when the chosen runner cannot run."""
    parser = Parser(prog="molino doctor", description=DESCRIPTION)
    parser.add_argument("--runner", default=EMBEDDED, metavar="NAME", help=f"one of {', '.join(RUNNERS)}")
    parser.add_argument("--prism-location", metavar="FILE", help="the prism program, when it is not in PATH")
    given = parser.parse_args(arguments)
    if given.runner not in RUNNERS and not runners.is_embedded(given.runner):
        parser.error(f"no such runner: {given.runner}; try one of {', '.join(RUNNERS)}")
    runners.silence_beam()
    findings = [*_machine(), *_packages(), *_extras(), *_runner(given.runner, given.prism_location)]
    for mark, name, text in findings:
        print(f"{mark:>2}  {name:<22} {text}")
    return DATA if any(mark == WRONG for mark, _, _ in findings) else DONE


def _machine() -> Iterator[tuple[str, str, str]]:
    version = platform.python_version()
    right = sys.version_info[:2] == (3, 11)
    yield OK if right else WRONG, "python", version if right else f"{version}; this program is locked to 3.11"
    yield OK, "molino", f"{VERSION} in {Path(__file__).resolve().parent.parent}"
    free = shutil.disk_usage(os.getcwd()).free
    yield OK, "machine", f"{os.cpu_count()} cores, {_memory()} of memory, {free / 1e9:,.0f} GB free in this folder"


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:,.0f} GB"
    except (ValueError, OSError):
        return "an unknown amount"


def _packages() -> Iterator[tuple[str, str, str]]:
    for name in NEEDED:
        found = _version(name)
        yield (OK, name, found) if found else (WRONG, name, "not installed; run: pip install molino")


def _extras() -> Iterator[tuple[str, str, str]]:
    for extra, (package, purpose) in EXTRAS.items():
        found = _version(package)
        what = (
            f"{package} {found}" if found else f"not installed; for {purpose}: pip install -r requirements/{extra}.txt"
        )
        yield OK if found else MISSING, f"molino[{extra}]", what


def _runner(name: str, prism: str | None) -> Iterator[tuple[str, str, str]]:
    if runners.is_embedded(name):
        also = (
            "" if name == EMBEDDED else f" ({name} would let Beam choose among three engines; here it is always this)"
        )
        yield OK, "runner", f"embedded: Beam's FnApiRunner in this process, {os.cpu_count()} worker threads{also}"
    elif name == "PrismRunner":
        yield from _prism(prism)
    elif name in ("FlinkRunner", "SparkRunner", "PortableRunner"):
        yield (
            OK,
            "runner",
            f"{name}: a job server submits to the cluster; name it with --flink_master or --spark_master_url",
        )
        yield _java()
        if name == "FlinkRunner":
            yield _jars()
            yield _local_cluster()
    else:
        package, _ = EXTRAS["dataflow"]
        yield (OK if _version(package) else WRONG), "runner", "Dataflow: needs molino[dataflow], a project and a region"
        given = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
        default = Path.home() / ".config/gcloud/application_default_credentials.json"
        known = given or (str(default) if default.exists() else "")
        missing = "none found; run: gcloud auth application-default login"
        yield OK if known else MISSING, "credentials", known or missing


def _prism(given: str | None) -> Iterator[tuple[str, str, str]]:
    found = given if given and os.access(given, os.X_OK) else None if given else shutil.which("prism")
    beam = _version("apache-beam")
    how = f"go install github.com/apache/beam/sdks/v2/go/cmd/prism@v{beam}, then --prism_location=PATH"
    if found:
        yield OK, "runner", f"Prism: {found}; give jobs --prism_location={found}"
    else:
        yield WRONG, "runner", f"Prism: no program{f' at {given}' if given else ' in PATH'}; get it: {how}"


def _java() -> tuple[str, str, str]:
    java = shutil.which("java")
    if not java:
        return (
            WRONG,
            "java",
            "not found; install Java 11, 17 or 21, for example: apt-get install openjdk-17-jre-headless",
        )
    text = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'"(\d+)[^"]*"', text)
    return OK, "java", f"{version[0] if version else 'unknown version'} {java}"


def _jars() -> tuple[str, str, str]:
    cache = Path.home() / ".apache_beam/cache/jars"
    jars = sorted(path.name for path in cache.glob("beam-runners-flink-*.jar")) if cache.is_dir() else []
    how = "Beam fetches it from Maven Central at the first run; without network give --flink_job_server_jar=FILE"
    return (
        (OK, "flink job server", f"{jars[-1]} in {cache}") if jars else (MISSING, "flink job server", f"no jar; {how}")
    )


def _local_cluster() -> tuple[str, str, str]:
    """Return what deploy/flink/fetch has brought; deploy/flink/settings has the same places."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    place = Path(os.environ.get("MOLINO_FLINK_CACHE") or Path(cache) / "molino/flink")
    found = [sorted(place.glob(f"{name}-*[0-9]"))[-1:] for name in ("flink", "beam", "boot")]
    if not all(found):
        return MISSING, "local cluster", "not here; in the checkout, deploy/flink/fetch brings one for trials"
    names = ", ".join(piece.name for (piece,) in found)
    return OK, "local cluster", f"{names} in {place}; start it by deploy/flink/start"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
