"""Who may import whom, by folder; what a help text and the core of a run may load, and what no module may name."""

import ast
import functools
import pathlib
import re
import subprocess
import sys

import pytest

from molino.code import pipelines

ROOT = pathlib.Path(__file__).resolve().parents[1]
PIPELINES = {*pipelines()}
DOMAINS = {f"transforms/{job}" for job in PIPELINES}
SHARED = {
    f"transforms/{path.name}" for path in (ROOT / "transforms").iterdir() if (path / "__init__.py").exists()
} - DOMAINS
BASE = {"molino", "transforms"}  # the package itself, and what lies beside the rooms of transforms
ARROW = {"pyarrow", "numpy", "apache_beam"}
EVERYTHING = {"schemas", "transforms", *SHARED, *DOMAINS}

# for each room: the rooms that it may import besides itself, and the packages
RULES: dict[str, tuple[set[str], set[str]]] = {
    "molino": ({"jobs", "jobs/run", "training", "transforms"}, set()),
    "schemas": (set(), {"pyarrow"}),
    "transforms": ({"molino"}, {"numba"}),
    "transforms/files": (BASE, {"pyarrow", "obstore", "google"}),
    "transforms/rows": (BASE | {"transforms/files"}, ARROW | {"xxhash"}),
    "transforms/text": (BASE | {"schemas", "transforms/files", "transforms/rows"}, ARROW | {"python_calamine"}),
    "transforms/parquet": (BASE | {"schemas", "transforms/files", "transforms/rows"}, ARROW | {"zlib_ng"}),
    "transforms/report": ({"transforms"}, {"numpy", "jinja2", "markupsafe", "matplotlib", "PIL"}),
    "transforms/models": (
        BASE | {"transforms/files", "transforms/rows"},
        {"pyarrow", "numpy", "numba", "llvmlite", "tensorflow", "tensorflow_hub", "google", "xxhash"},
    ),
    "transforms/images": (
        BASE | {"transforms/files", "transforms/rows", "transforms/text"},
        {"pyarrow", "numpy", "cv2", "simplejpeg", "PIL"},
    ),
    **{domain: (BASE | {"schemas"} | SHARED, set(ARROW)) for domain in DOMAINS},
    "jobs": ({"molino", "jobs/run", "jobs/forecast"} | EVERYTHING, ARROW - {"numpy"}),
    "jobs/commands": (
        {"molino", "training", "jobs", "jobs/run", "jobs/runners", "jobs/forecast"} | EVERYTHING,
        {"packaging"},
    ),
    "jobs/run": (
        {"molino", "jobs", "jobs/runners", "jobs/forecast", "schemas", "transforms"} | SHARED,
        {"apache_beam", "pyarrow"},
    ),
    "jobs/runners": ({"molino", "jobs", "transforms", "transforms/files"}, {"apache_beam", "pyarrow", "tqdm"}),
    "jobs/forecast": ({"jobs", "transforms", *SHARED}, set()),
    "jobs/train": (
        {"molino", "jobs", "jobs/run", "training", "schemas", "transforms"} | SHARED,
        {"pyarrow", "numpy", "keras"},
    ),
    "training": ({"molino", "schemas", "transforms"}, {"pyarrow", "numpy", "keras", "tensorflow"}),
}
# the heavy packages of a domain
RULES["transforms/titles"][1].update({"numba", "tensorflow", "tensorflow_transform", "tfx_bsl"})
RULES["transforms/whales"][1].update({"numba", "cv2"})
RULES["transforms/shapes"][1].update({"numba", "yaml"})
# of what lies in jobs/ itself, rooms beneath it may import the options, and what a job says of itself
OF_JOBS = {"molino.jobs.options", "molino.jobs.job"}
REGISTRIES = re.compile(
    r"(pypi|pythonhosted|npmjs|crates|rubygems|anaconda|nuget|(repo\d*\.)?maven(\.apache)?|proxy\.golang)\.(org|io|com)\b"
    r"|--(extra-)?index-url|[/.]simple/"
)


def modules(*rooms):
    return [path for room in rooms for path in sorted((ROOT / room).rglob("*.py")) if not path.is_symlink()]


SOURCES = [*modules("jobs", "transforms", "schemas", "training"), *sorted((ROOT / "molino").glob("*.py"))]


def by_name(path):
    return str(path.relative_to(ROOT))


def room_of(path):
    return path.parent.relative_to(ROOT).as_posix()


@functools.cache
def imports(path, top_alone=False):
    """Return every module that a file imports, at its top or inside a function: {"molino.jobs.run.runs", "pyarrow"}.

    Args:
      top_alone: leave out what is imported when a function is called, or for types.
    """
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_alone else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide who imports whom"
            inside = (ROOT / node.module.replace(".", "/")).is_dir()
            found |= {f"{node.module}.{alias.name}" if inside else node.module for alias in node.names}
    return found


def file_of(module):
    """Return the file of a module of ours; of a name in a package's `__init__`, that."""
    place = ROOT.joinpath(*module.split(".")[1:]) if module.count(".") else ROOT / "molino"
    candidates = [place.with_suffix(".py"), place / "__init__.py", place.parent / "__init__.py"]
    if module.startswith("molino.") and not (ROOT / module.split(".")[1]).exists():
        candidates = [ROOT / "molino" / f"{module.split('.')[1]}.py", ROOT / "molino/__init__.py"]
    return next(path for path in candidates if path.exists())


def ours(path, **how):
    return {module for module in imports(path, **how) if module.split(".")[0] == "molino"}


def test_every_room_has_a_rule_and_every_rule_a_room():
    assert {room_of(path) for path in SOURCES} == set(RULES)
    assert {"transforms/files", "transforms/rows", "transforms/report"} <= SHARED
    assert {"transforms/names", "transforms/predict"} <= DOMAINS


@pytest.mark.parametrize("path", SOURCES, ids=by_name)
def test_a_room_imports_only_what_it_may(path):
    room = room_of(path)
    rooms, packages = RULES[room]
    found = {room_of(file_of(module)) for module in ours(path)}
    assert found - rooms - {room} == set()
    others = {module.split(".")[0] for module in imports(path)} - {"molino"}
    assert others - packages - set(sys.stdlib_module_names) == set()


@pytest.mark.parametrize("path", sorted((ROOT / "jobs").glob("*.py")), ids=by_name)
def test_a_pipeline_imports_no_other(path):
    others = {f"molino.jobs.{job}" for job in PIPELINES - {path.stem}}
    assert ours(path) & others == set()


@pytest.mark.parametrize("room", ["jobs/run", "jobs/runners", "jobs/forecast"])
def test_a_room_of_the_jobs_knows_no_job(room):
    above = {m for path in modules(room) for m in ours(path) if room_of(file_of(m)) == "jobs"}
    assert above <= OF_JOBS


def test_nobody_imports_the_commands():
    wrong = {by_name(path) for path in SOURCES for module in ours(path) if module.startswith("molino.jobs.commands")}
    assert wrong == set()


def test_no_module_imports_itself_in_a_circle():
    """By what is imported at the top; what a function imports when it is called makes no circle."""
    graph = {path: {file_of(module) for module in ours(path, top_alone=True)} for path in SOURCES}
    done: set[pathlib.Path] = set()

    def visit(path, trail):
        assert path not in trail, " > ".join(map(by_name, [*trail, path]))
        if path not in done:
            for other in sorted(graph[path] - {path}):
                visit(other, [*trail, path])
            done.add(path)

    for path in graph:
        visit(path, [])


@functools.cache
def closure(path):
    """Return the files of ours that are loaded with a file, by what is imported at the top."""
    found, todo = set(), [path]
    while todo:
        here = todo.pop()
        if here not in found:
            found.add(here)
            todo += [file_of(module) for module in ours(here, top_alone=True)]
    return found


TRANSFORMS = [path for path in SOURCES if re.search(r"\((NamedOutputs|beam\.PTransform)\)", path.read_text("utf-8"))]


@pytest.mark.parametrize("path", TRANSFORMS, ids=by_name)
def test_whoever_imports_a_transform_has_the_coder_of_batches(path):
    """Else Beam would pickle them, and a slice would take along all that it was cut from."""
    assert ROOT / "transforms/rows/coder.py" in closure(path)


def loaded_by(program):
    """Return what a new process has loaded when a program is through."""
    program += "\nimport sys; print(*sorted(sys.modules), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


def has_transform(path):
    """Return whether a module defines a PTransform or registers a coder: such a one may load Beam, and has to."""
    return (
        re.search(r"\((NamedOutputs|beam\.(PTransform|coders\.Coder))\)", path.read_text(encoding="utf-8")) is not None
    )


def test_the_core_of_a_run_loads_neither_beam_nor_numba():
    """Files, digests, shards, manifest, lock, runs and commit: all of their rooms but what is a part of a pipeline."""
    rooms = ("transforms/files", "transforms/rows", "transforms/parquet", "jobs/run")
    core = [path for path in modules(*rooms) if not has_transform(path)]
    names = {by_name(path).removesuffix(".py").replace("/", ".") for path in core}
    for name in ("transforms.files.storage", "transforms.rows.digest", "transforms.parquet.shards"):
        assert name in names
    assert {f"jobs.run.{name}" for name in ("output", "recheck", "lock", "runs", "commit", "command")} <= names
    loaded = loaded_by("\n".join(f"import molino.{name}" for name in sorted(names)))
    assert loaded & {"apache_beam", "numba", "matplotlib", "jinja2", "tensorflow", "cv2"} == set()


def test_verify_loads_neither_beam_nor_numba(tmp_path):
    program = f"from molino.jobs.cli import main; assert main(['verify', {str(tmp_path)!r}]) == 1"
    assert loaded_by(program) & {"apache_beam", "numba", "matplotlib"} == set()


@pytest.mark.slow
def test_training_loads_nothing_of_beam_or_of_the_jobs():
    """Whatever its modules import, and whatever that imports in turn."""
    pytest.importorskip("keras")
    names = [by_name(path).removesuffix(".py").replace("/", ".") for path in modules("training")]
    loaded = loaded_by("\n".join(f"import molino.{name}" for name in names if not name.endswith("__init__")))
    assert "molino.training.fit" in loaded
    forbidden = ("apache_beam", "obstore", "molino.jobs", "molino.transforms.")
    base = {f"molino.transforms.{name}" for name in ("errors", "manifest", "warnings")}
    assert {name for name in loaded if name.startswith(forbidden)} == base


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], *([job, "--help"] for job in sorted(PIPELINES)),
     ["model", "--help"], ["train", "--help"], ["train", "titles", "--help"], ["model", "train", "--help"],
     ["verify", "--help"], ["plan", "--help"], ["plan", "names", "--help"]],
    ids=" ".join,
)  # fmt: skip
def test_help_loads_nothing_heavy(arguments):
    program = f"""
import contextlib
from molino.jobs.cli import main
with contextlib.suppress(SystemExit):
    main({arguments!r})
"""
    assert loaded_by(program) & {"apache_beam", "pyarrow", "numpy", "matplotlib", "jinja2"} == set()


def test_no_module_names_a_registry():
    files = [*SOURCES, *modules("benchmarks", "docs", "tests"), ROOT / "setup.py"]
    files += [*(ROOT / "requirements").glob("*.txt"), ROOT / "Makefile", ROOT / "pyproject.toml"]
    found = {by_name(path): REGISTRIES.search(path.read_text(encoding="utf-8")) for path in files}
    found.pop(by_name(pathlib.Path(__file__).resolve()))  # its own pattern
    assert {name: match[0] for name, match in found.items() if match} == {}


def test_the_tests_stand_as_the_modules_do():
    """Tests of one module have its path and its name; of several, a folder of their own beside these rooms."""
    for path in modules("tests/jobs", "tests/transforms", "tests/schemas", "tests/training", "tests/molino"):
        if path.name.startswith("test_"):
            place = path.relative_to(ROOT / "tests")
            assert (ROOT / place.parent / path.name.removeprefix("test_")).exists(), by_name(path)


def test_the_package_has_one_name():
    """Nothing is imported by a bare name of a room, which a user's own folder may have."""
    rooms = {"jobs", "transforms", "schemas", "training"}
    files = [*SOURCES, *modules("benchmarks", "docs", "tests", "deploy")]
    bare = {by_name(path) for path in files for module in imports(path) if module.split(".")[0] in rooms}
    assert bare == set()


# --- size and names; ruff holds the number of parameters, and that booleans are keyword-only

LINES = 60
VAGUE = {"made", "found", "told", "how", "given", "seen", "shown", "held", "asked", "wanted", "tell"}
# functions that every module of a kind has, and that mean the same in each
PROTOCOL = {
    "main": "a command, or a module that is run as a program",
    "parser": "a job",
    "plan": "a job",
    "build": "a job",
    "summarize": "a job",
    "list_inputs": "a job",
    "add_sample_options": "a job's sample",
    "write_sample": "a job's sample",
    "work": "a training",
    "summary_of": "a training",
}


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def parameters(function):
    given = function.args
    return {each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)} - {"self", "cls"}


def is_compiled(function):
    return any("compiled" in ast.unparse(decorator) for decorator in function.decorator_list)


def faults(path):
    """Yield what is too long or has a vague name in a module."""
    tree, name = ast.parse(path.read_text(encoding="utf-8")), by_name(path)
    for function in functions(tree):
        if function.end_lineno - function.lineno + 1 > LINES and not is_compiled(function):
            yield f"{name} {function.name}: lines"
        if not function.name.startswith("_") and ({function.name} - {"tell"} | parameters(function)) & VAGUE:
            yield f"{name} {function.name}: vague name"
    for node in ast.walk(tree):
        fields = node.body if isinstance(node, ast.ClassDef) else []
        if {ast.unparse(field.target) for field in fields if isinstance(field, ast.AnnAssign)} & VAGUE:
            yield f"{name} {node.name}: vague name"


@functools.cache
def defined(kind):
    """Return where each public class or function of a module's top level is defined."""
    found: dict[str, list[str]] = {}
    for path in SOURCES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, kind) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(by_name(path))
    return found


def test_functions_are_short_and_names_say_what_things_are():
    assert {fault for path in SOURCES for fault in faults(path)} == set()


@pytest.mark.parametrize("kind", [ast.ClassDef, ast.FunctionDef], ids=["classes", "functions"])
def test_no_two_things_have_one_name(kind):
    twice = {name for name, paths in defined(kind).items() if len(paths) > 1}
    assert {f"{name}: {', '.join(defined(kind)[name])}" for name in twice - PROTOCOL.keys()} == set()


# what tests take of others that is private, and why
PRIVATE = {
    "test_pipeline": "streams of Beam, which stand still at a place of its own",
    "test_classifier_pages": "argparse has no other list of options",
    "test_compiled": "Numba says nowhere else where its cache is",
    "test_proof": "what a process knows already, so that it is as a new one",
}
REACH = re.compile(r"\bimport _[a-z]|\b(?!self|sys|os|cls)[a-z_]+(?<!_manifest)\._(?!replace|asdict|fields)[a-z]\w+")


def test_tests_reach_into_nothing_private():
    found = {
        path.stem
        for path in modules("tests", "benchmarks")
        for line in path.read_text(encoding="utf-8").splitlines()
        if REACH.search(re.sub(r"\"[^\"]*\"|'[^']*'|#.*", "", line)) and path.name != "test_layers.py"
    }
    assert found == PRIVATE.keys()
