"""Say which runner a job will really use, and whether it can: versions, Java, Prism, credentials, jars, disk and
memory, and for everything that is missing how to get it.
"""

import contextlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import molino
from molino import code, machine
from molino.caches import in_home
from molino.jobs.job import jobs_by_extra, load_trainings
from molino.jobs.options import DATA, DONE, EMBEDDED, RUNNERS, Parser, is_embedded
from molino.transforms.errors import DataError
from molino.transforms.warnings import many

if TYPE_CHECKING:
    from packaging.requirements import Requirement

ABOUT = "what runs here, and what is missing"
DISTRIBUTION = "molino-jobs"
DATAFLOW_CLIENT = "google-cloud-dataflow-client"
OK, MISSING, WRONG = "ok", "--", "!!"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 1 when the chosen runner cannot run."""
    from molino import quiet

    parser = Parser(prog="molino doctor", description=__doc__)
    parser.add_argument("--runner", default=EMBEDDED, metavar="NAME", help=f"one of {', '.join(RUNNERS)}")
    parser.add_argument("--prism-location", metavar="FILE", help="the prism program, when it is not in PATH")
    args = parser.parse_args(arguments)
    if args.runner not in RUNNERS and not is_embedded(args.runner):
        parser.error(f"no such runner: {args.runner}; try one of {', '.join(RUNNERS)}")
    quiet.silence_beam()
    findings = [*_machine(), *_packages(), *_extras(), *_runner(args.runner, args.prism_location)]
    for mark, name, text in findings:
        print(f"{mark:>2}  {name:<24} {text}")
    return DATA if any(mark == WRONG for mark, _, _ in findings) else DONE


def _machine() -> Iterator[tuple[str, str, str]]:
    from molino.jobs.runners.loopback import check_loopback
    from molino.transforms.files.temporary import check_temporary_files

    yield _python()
    yield OK, "molino", f"{molino.VERSION} in {Path(molino.__file__).resolve().parent}"
    free = shutil.disk_usage(os.getcwd()).free
    yield OK, "machine", f"{machine.describe_machine()}; {free / 1e9:,.0f} GB free in this folder"
    for name, check in (("temporary files", check_temporary_files), ("loopback", check_loopback)):
        try:
            check()
        except DataError as error:
            yield WRONG, name, str(error)


def _python() -> tuple[str, str, str]:
    from packaging.specifiers import SpecifierSet

    version, needed = platform.python_version(), ""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        needed = str(importlib.metadata.metadata(DISTRIBUTION).json.get("requires_python", ""))
    right = SpecifierSet(needed).contains(version, prereleases=True)
    return OK if right else WRONG, "python", version if right else f"{version}; needed is {needed}"


def _packages() -> Iterator[tuple[str, str, str]]:
    needed = requirements("")
    if not needed:
        yield WRONG, DISTRIBUTION, "not installed, so what it needs is not known; run: pip install ."
    for need in needed:
        found, told = _version(need.name), f"{need.name}{need.specifier}"
        if not found:
            yield WRONG, need.name, f"not installed; run: pip install '{told}'"
        else:
            right = need.specifier.contains(found, prereleases=True)
            yield OK if right else WRONG, need.name, found if right else f"{found}; needed is {told}"


def _extras() -> Iterator[tuple[str, str, str]]:
    for extra, purpose in extras().items():
        needed = requirements(extra)
        lacking = [need.name for need in needed if not _version(need.name)]
        # Beam is there without what its own extra for Google brings
        lacking += [DATAFLOW_CLIENT for need in needed if "gcp" in need.extras and not _version(DATAFLOW_CLIENT)]
        found = ", ".join(f"{need.name} {_version(need.name)}" for need in needed)
        what = f"not installed: {', '.join(lacking)}; for {purpose}: pip install -r requirements/{extra}.txt"
        yield MISSING if lacking or not needed else OK, f"{DISTRIBUTION}[{extra}]", what if lacking else found


def extras() -> dict[str, str]:
    """Return what each extra is for; which packages it brings stands in setup.py, and is asked of what is installed."""
    purposes = {
        extra: f"the {' and '.join(names)} job{'s' * (len(names) > 1)}" for extra, names in jobs_by_extra().items()
    }
    for extra in {job.extra for job in load_trainings().values()}:
        purposes[extra] = f"{purposes[extra]}, and training" if extra in purposes else "training"
    others = {
        "dataflow": "the Dataflow runner",
        "aws": "the profiles and keys in ~/.aws, and single sign-on",
        "xlsx": "Excel workbooks as input",
        "heic": "photographs of iPhones in the whales job",
    }
    return {**others, **dict(sorted(purposes.items()))}


def requirements(extra: str) -> "list[Requirement]":
    """Return what setup.py requires: for the base install (""), or for an extra beside it; none where it is unknown."""
    from packaging.requirements import Requirement

    try:
        told = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [Requirement(text) for text in told if (f'extra == "{extra}"' in text if extra else "extra ==" not in text)]


def _runner(name: str, prism: str | None) -> Iterator[tuple[str, str, str]]:
    if is_embedded(name):
        also = f" ({name} would let Beam choose among three engines; here it is always this)"
        threads = many(machine.cpus(), "worker thread") + (also if name != EMBEDDED else "")
        yield OK, "runner", f"embedded: Beam's FnApiRunner in this process, {threads}"
    elif name == "PrismRunner":
        yield from _prism(prism)
    elif name in ("FlinkRunner", "SparkRunner", "PortableRunner"):
        how = "name it with --flink_master or --spark_master_url"
        yield OK, "runner", f"{name}: a job server submits to the cluster; {how}"
        yield _java()
        if name == "FlinkRunner":
            yield _jars()
            yield _local_cluster()
    else:
        known = OK if _version(DATAFLOW_CLIENT) else WRONG
        yield known, "runner", f"Dataflow: needs {DISTRIBUTION}[dataflow], a project and a region"
        given = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
        default = in_home(".config/gcloud/application_default_credentials.json")
        known = given or (default if os.path.exists(default) else "")
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
    if not (java := shutil.which("java")):
        how = "install Java 11, 17 or 21, for example: apt-get install openjdk-17-jre-headless"
        return WRONG, "java", f"not found; {how}"
    text = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'"(\d+)[^"]*"', text)
    return OK, "java", f"{version[0] if version else 'unknown version'} {java}"


def _jars() -> tuple[str, str, str]:
    cache = Path(in_home(".apache_beam/cache/jars") or os.devnull)
    jars = sorted(path.name for path in cache.glob("beam-runners-flink-*.jar")) if cache.is_dir() else []
    how = "Beam fetches it from Maven Central at the first run; without network give --flink_job_server_jar=FILE"
    return OK if jars else MISSING, "flink job server", f"{jars[-1]} in {cache}" if jars else f"no jar; {how}"


def _local_cluster() -> tuple[str, str, str]:
    """Return what deploy/flink/fetch has brought; deploy/flink/settings has the same places."""
    cache = os.environ.get("XDG_CACHE_HOME") or in_home(".cache") or "/.cache"
    place = Path(os.environ.get("MOLINO_FLINK_CACHE") or Path(cache) / "molino/flink")
    found = [sorted(place.glob(f"{name}-*[0-9]"))[-1:] for name in ("flink", "beam", "boot")]
    if not all(found):
        return MISSING, "local cluster", "not here; in the checkout, deploy/flink/fetch brings one for trials"
    names = ", ".join(piece.name for (piece,) in found)
    return OK, "local cluster", f"{names} in {place}; start it by deploy/flink/start"


def _version(package: str) -> str:
    return code.versions_of([package]).get(package, "")
