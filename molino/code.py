"""The code that a run depends on, as one digest: part of what tells two runs apart.

Files count by their names within their package, so that the same code has the same digest wherever it is installed. It
knows no job by heart: a job's files are found by the job's name.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent
SOURCES = (".py", ".json", ".html", ".css", ".txt")
# what nothing of a run's output comes from; and what is of trainings alone
APART, TRAINING = {"cli", "commands"}, {"train", "training"}

MARK = 12  # digits of a module's digest
# besides Python, what can change an output's bytes
PACKAGES = ("apache-beam", "numpy", "pyarrow", "tensorflow", "opencv-python-headless", "simplejpeg", "numba")

Files = dict[str, Path]


def pipelines() -> list[str]:
    """Return the names of this package's jobs: modules in jobs/ that have a domain of their name in transforms/."""
    names = sorted(path.stem for path in (ROOT / "jobs").glob("*.py"))
    return [name for name in names if (ROOT / "transforms" / name).is_dir()]


def job_files(job: str | None) -> Files:
    """Return what the output of a job, or of "train", depends on: shared rooms, its own pipeline, domain and schemas.

    One outside this package, None, may use every domain.
    """
    others = APART | ({*pipelines()} - {job} if job else set()) | (set() if job == "train" else TRAINING)
    return {
        f"molino/{room}/{name}": path
        for room in ("jobs", "schemas", "transforms", *(["training"] if job == "train" else []))
        for name, path in _files_in(ROOT / room).items()
        if name.split("/")[0].removesuffix(".py") not in others
    }


def files_of(module: str) -> Files:
    """Return the files of a module's top-level package; of a module in none, its own and those loaded below its folder.

    Empty where no source is found: it was typed in, or is compiled.
    """
    own = sys.modules.get(module)
    if module == "__main__" and own is not None:
        module = own.__spec__.name.removesuffix(".__main__") if own.__spec__ else ""
    top = module.split(".")[0]
    try:
        spec = importlib.util.find_spec(top) if top else None
    except (ImportError, ValueError):
        spec = None
    if spec and spec.origin and spec.submodule_search_locations:
        return {f"{top}/{name}": path for name, path in _files_in(Path(spec.origin).parent).items()}
    path = Path(getattr(own, "__file__", None) or (spec.origin if spec and spec.origin else "") or "-").absolute()
    if path.suffix not in SOURCES or not path.is_file():
        return {}
    names = [getattr(each, "__file__", None) for each in [*sys.modules.values()]]
    loaded = {Path(name).absolute() for name in names if name}
    # an environment or this program may lie below the folder as well
    apart = [Path(place).resolve() for place in (sys.prefix, sys.base_prefix, ROOT.parent)]
    beside = {each for each in loaded if each.is_relative_to(path.parent) and each.suffix in SOURCES}
    beside = {each for each in beside if not any(each.resolve().is_relative_to(place) for place in apart)}
    return {each.relative_to(path.parent).as_posix(): each for each in {path, *beside}}


def module_of(function: Callable[..., Any]) -> str:
    """Return the name of the module that a function, or what it is made of, comes from; "" where none is known.

    >>> import functools
    >>> module_of(functools.partial(os.path.join, "a"))
    'posixpath'
    """
    while hasattr(function, "func"):
        function = function.func
    return getattr(function, "__module__", "") or type(function).__module__


def digest_files(files: Mapping[str, Path]) -> str:
    """Return the sha256 of files: their names, and what they hold."""
    state = hashlib.sha256()
    for name, path in sorted(files.items()):
        state.update(name.encode(errors="surrogatepass") + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()


def module_digests(files: Mapping[str, Path]) -> dict[str, str]:
    """Return a digest of every module among files that other processes import, by the name under which they would.

    Not of what is run as a program, which travels by value. The names are as of files: {"town_jobs/counting.py": ...}.
    """
    program = getattr(sys.modules.get("__main__"), "__file__", None) or "-"
    loaded = {
        Path(file).absolute(): name.replace(".", "/")
        for name, module in [*sys.modules.items()]
        if name != "__main__" and (file := getattr(module, "__file__", None))
    }
    found = {}
    for name, path in files.items():
        if path.suffix == ".py" and path.resolve() != Path(program).resolve():
            own = loaded.get(path.absolute())
            name = f"{own}/__init__.py" if own and path.stem == "__init__" else f"{own}.py" if own else name
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()[:MARK]
    return found


def digest_here(name: str, default: str) -> str:
    """Return the digest of a module as this process would import it, by its name of `module_digests`, or a default."""
    try:
        spec = importlib.util.find_spec(name.split("/")[0].removesuffix(".py"))
    except (ImportError, ValueError):
        spec = None
    places = [*(spec.submodule_search_locations or [spec.origin or ""])] if spec else []
    for path in (Path(place).parent / name for place in places):
        if path.is_file():
            return hashlib.sha256(path.read_bytes()).hexdigest()[:MARK]
    return default


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of the packages that are installed; what lies there without an installation tells none."""
    found = {}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


@functools.cache
def packages() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change an output's bytes."""
    return {"python": platform.python_version(), **versions_of(PACKAGES)}


def _files_in(folder: Path) -> Files:
    """Return the sources below a folder, by their paths in it."""
    found = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for path in (Path(place, name) for name in names):
            if path.suffix in SOURCES:
                found[path.relative_to(folder).as_posix()] = path
    return found
