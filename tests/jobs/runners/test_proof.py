"""The proof that a worker has its command's code: what differs, what is told of it, and that every step carries it."""

import base64
import pickle
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.internal import pickler
from apache_beam.portability.api import beam_runner_api_pb2

from molino import VERSION, code
from molino.jobs.runners import proof
from molino.jobs.runners.proof import make_proof, prove, proving
from molino.transforms.errors import DataError


def elsewhere(**changes):
    """Return the facts of a proof that another process made, whose code differs so."""
    return dict(make_proof("names", [])) | {"token": uuid.uuid4().hex} | changes


def refused(facts):
    with pytest.raises(DataError) as raised:
        prove(facts)
    return str(raised.value)


def test_the_same_code_passes_and_is_looked_at_once(monkeypatch):
    facts = elsewhere()
    prove(facts)
    monkeypatch.setattr(code, "digest_files", None)
    prove(facts)


def test_the_process_that_made_it_looks_at_nothing(monkeypatch):
    made = make_proof("names", [])
    monkeypatch.setattr(code, "digest_files", None)
    assert pickle.loads(pickle.dumps(made)) is None


def test_another_digest_is_told_with_both_and_the_host():
    line = refused(elsewhere(digest="0123456789abcdef"))
    own = code.digest_files(code.job_files("names"))[:12]
    assert line.startswith(f"worker {socket.gethostname()} has other code of molino {VERSION} than this command: ")
    assert f"{own} there, 0123456789ab here" in line
    assert line.endswith("rebuild the workers' image from the code of this command, or reinstall it on the workers")


@pytest.mark.parametrize(
    ("version", "remedy"),
    [
        ("99.1.0", "the workers are older: rebuild their image with molino 99.1.0"),
        ("0.0.9", f"this command is older: update it to molino {VERSION}"),
    ],
)
def test_of_two_versions_the_older_side_is_named(version, remedy):
    line = refused(elsewhere(digest="0" * 64, version=version))
    assert f"has molino {VERSION} with the code" in line
    assert f"this command molino {version} with the code 000000000000" in line
    assert remedy in line


@pytest.mark.parametrize("name", ["apache-beam", "pyarrow", "numpy"])
@pytest.mark.parametrize(("there", "older"), [("0.10.1", "the workers are"), ("999.0", "this command is")])
def test_another_version_of_a_package_is_told(name, there, older, monkeypatch):
    facts, real = elsewhere(), code.importlib.metadata.version
    monkeypatch.setattr(code.importlib.metadata, "version", lambda each: there if each == name else real(each))
    assert f"has {name} {there}, this command {name} {real(name)}; {older} older: " in refused(facts)


def test_a_package_that_tells_no_version_is_not_compared():
    prove(elsewhere(packages={}))


def test_a_job_from_elsewhere_has_its_modules_compared(tmp_path, monkeypatch):
    """Those that this process has: what is lacking fails by itself, and what is only here is not of the job."""
    package = tmp_path / "towns_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "job.py").write_text("def build(*_): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    made = make_proof(None, ["towns_package.job"])
    assert set(made["modules"]) == {"towns_package/__init__.py", "towns_package/job.py"}
    facts = dict(made)
    (package / "more.py").write_text("")
    prove(facts | {"token": "1", "modules": made["modules"] | {"towns_package/other.py": "ab", "no_such/x.py": "cd"}})
    (package / "job.py").write_text("def build(*_): return 1\n")
    line = refused(facts | {"token": "2"})
    assert "has another towns_package/job.py than this command" in line
    assert made["modules"]["towns_package/job.py"] in line


class _Twice(beam.DoFn):
    def process(self, element):
        yield 2 * element


class _Largest(beam.CombineFn):
    def create_accumulator(self):
        return 0

    def add_input(self, held, element):
        return max(held, element)

    def merge_accumulators(self, held):
        return max(held)

    def extract_output(self, held):
        return held


def steps_of(anew, **changes):
    """Return the functions of a pipeline's steps as they are sent: of Beam's own, with a side input, with a CombineFn.

    Args:
      anew: Beam makes the pipeline anew, as for Dataflow.
      changes: of the proof that they carry.
    """
    made = make_proof("names", [])
    made.update(changes)
    pipeline = beam.Pipeline()
    pairs = pipeline | beam.Create([1, 2], reshuffle=False) | beam.ParDo(_Twice()) | beam.Map(lambda n: (n % 2, n))
    largest = pairs | "Large" >> beam.CombinePerKey(_Largest())
    _ = pairs | "Side" >> beam.Map(lambda pair, all_: (pair, all_), all_=beam.pvalue.AsList(largest))
    with proving(made):
        if anew:
            pipeline = beam.Pipeline.from_runner_api(
                pipeline.to_runner_api(use_fake_coders=True), pipeline.runner, pipeline.options
            )
        sent = pipeline.to_runner_api().components.transforms.values()
    proof._known.discard(made["token"])  # as in another process, for which each of these steps would be too much
    kinds = {"beam:transform:pardo:v1": beam_runner_api_pb2.ParDoPayload, "beam:transform:combine_per_key:v1":
             beam_runner_api_pb2.CombinePayload}  # fmt: skip
    payloads = [kinds[step.spec.urn].FromString(step.spec.payload) for step in sent if step.spec.urn in kinds]
    functions = [getattr(payload, "do_fn", None) or payload.combine_fn for payload in payloads]
    assert len({function.urn for function in functions}) == 2
    assert len(functions) >= 5
    return [function.payload for function in functions]


@pytest.fixture(params=[False, True], ids=["as-built", "made-anew"])
def anew(request):
    return request.param


@pytest.fixture
def steps(anew):
    """What a process with the same code sends."""
    return steps_of(anew)


def test_every_step_carries_the_proof(anew):
    for step in steps_of(anew, digest="0123456789abcdef"):
        with pytest.raises((DataError, RuntimeError), match=r"worker \S+ has other code of molino"):
            pickler.loads(step)[0].process(1)  # of a CombineFn the former, before it is asked for anything


def test_a_step_is_what_it_was_once_the_proof_is_passed(steps):
    opened = [pickler.loads(step) for step in steps]
    functions = [each[0] for each in opened if isinstance(each, tuple)]
    assert "_Twice" in {type(function).__name__ for function in functions}
    assert [list(function.process(4)) for function in functions if isinstance(function, _Twice)] == [[8]]


OPEN = """
import base64, sys
sys.path[:] = PATHS
from apache_beam.internal import pickler
for line in sys.stdin:
    try:
        pickler.loads(base64.b64decode(line))[0].process(1)
    except Exception as error:
        print(str(error).splitlines()[-1])
"""


def test_a_worker_that_has_nothing_of_the_program_says_so(steps, tmp_path):
    places = [place for place in sys.path if place and not (Path(place) / "molino").exists()]
    done = subprocess.run(
        # -S: of an installed program too a worker has nothing
        [sys.executable, "-P", "-S", "-c", OPEN.replace("PATHS", repr(places))],
        input="\n".join(base64.b64encode(step).decode() for step in steps),
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    told = done.stdout.splitlines()
    assert len(told) == len(steps)
    # the class of a CombineFn is looked for before what it holds
    assert set(told) == {"ModuleNotFoundError: No module named 'molino'", "No module named 'tests'"}
