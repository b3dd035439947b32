"""Proof that a worker has the code of its command: with other code it would write other rows under the command's name.

It travels with every function of a pipeline, and is looked at where a worker unpickles one: before the first element.
"""

import contextlib
import re
import socket
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from molino import VERSION, code
from molino.transforms.errors import DataError

PACKAGES = ("apache-beam", "pyarrow", "numpy")
SHOWN = 12  # digits of a digest
REBUILD = "rebuild the workers' image from the code of this command, or reinstall it on the workers"
_known: set[str] = set()  # proofs that this process made or has passed


class Proof(dict[str, Any]):
    """What a worker's code is to be. Unpickled it is None, or raises DataError in a process that has other code.

    Its keys are `job`, whose files count, None for a job from elsewhere; `version` of this program, and `digest` of its
    files; `packages`, versions of those that can change an output's bytes; `modules`, digests of those of a job from
    elsewhere, see `code.module_digests`; `token`, which tells it from others.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # a plain dictionary, which another version of this program can read too
        return prove, (dict(self),)


def make_proof(job: str | None, modules: Sequence[str]) -> Proof:
    """Return the proof of a job of this program, or of one from elsewhere with its modules. Reads all their files."""
    made = Proof(
        job=job,
        version=VERSION,
        digest=code.digest_files(code.job_files(job)),
        packages=code.versions_of(PACKAGES),
        modules={name: mark for each in modules for name, mark in code.module_digests(code.files_of(each)).items()},
        token=uuid.uuid4().hex,
    )
    _known.add(made["token"])
    return made


@contextlib.contextmanager
def proving(proof: Proof) -> Iterator[None]:
    """Let a proof travel with every function of a pipeline that is run meanwhile.

    Beam is changed for that, and not the pipeline: for some runners it makes another of it before it is sent.
    """
    from apache_beam.transforms import core

    make, send = core.ParDo._do_fn_info, core.CombineFn.to_runner_api

    def seal(step: Any) -> Any:
        made = make(step)
        if not isinstance(made, core.PickledDoFnInfo):
            return made  # one of Beam's own, which goes by its name
        sealed = _Sealed(made.serialized_dofn_data(), dict(proof), splittable=bool(step.get_restriction_coder()))
        return core.PickledDoFnInfo(core.pickler.dumps(sealed))

    def send_with_proof(function: Any, context: Any) -> Any:
        function._proof = proof
        return send(function, context)

    core.ParDo._do_fn_info, core.CombineFn.to_runner_api = seal, send_with_proof
    try:
        yield
    finally:
        core.ParDo._do_fn_info, core.CombineFn.to_runner_api = make, send


class _Sealed:
    """A DoFn and its arguments, packed, that a worker unpickles as such, or as a DoFn that tells why it cannot.

    It is to tell with an element. Where unpickling itself fails, Flink waits three minutes for the worker to ask for
    elements, and then tells of these minutes alone (Beam 2.77, GrpcDataService.createOutboundAggregator).
    """

    def __init__(self, packed: bytes, facts: Mapping[str, Any], *, splittable: bool):
        self.content = packed, facts, splittable

    def __reduce__(self) -> tuple[Any, ...]:
        # a function in a function travels by value, and what it uses it imports: a worker may lack this program
        def open_sealed(packed, facts, splittable):
            import traceback

            from apache_beam import DoFn
            from apache_beam.internal import pickler

            class Refusal(DoFn):
                def __init__(self, why):
                    self.why = why

                def process(self, element, *_, **__):
                    raise RuntimeError(self.why)

            try:
                from molino.jobs.runners.proof import prove

                prove(facts)
                return pickler.loads(packed)
            except Exception:
                if splittable:  # Beam asks such a one for more than `process`
                    raise
                return Refusal(traceback.format_exc().strip()), (), {}, None, None

        return open_sealed, self.content


def prove(facts: Mapping[str, Any]) -> None:
    """Raise DataError when this process has other code than the one that sent a proof's facts; look once."""
    if facts["token"] in _known:
        return
    if told := _difference(facts):
        raise DataError(f"worker {socket.gethostname()} {told}")
    _known.add(facts["token"])


def _difference(facts: Mapping[str, Any]) -> str:
    """Return what is other here than with the command, and what to do; "" where nothing is."""
    sent, version = facts["digest"][:SHOWN], facts["version"]
    own = code.digest_files(code.job_files(facts["job"]))[:SHOWN]
    if own != sent and version != VERSION:
        what = f"has molino {VERSION} with the code {own}, this command molino {version} with the code {sent}"
        return f"{what}; {_remedy('molino', VERSION, version)}"
    if own != sent:
        return f"has other code of molino {VERSION} than this command: {own} there, {sent} here; {REBUILD}"
    for name, found in code.versions_of(PACKAGES).items():
        if found != facts["packages"].get(name, found):
            wanted = facts["packages"][name]
            return f"has {name} {found}, this command {name} {wanted}; {_remedy(name, found, wanted)}"
    for name, digest in facts["modules"].items():
        if digest != (mark := code.digest_here(name, digest)):
            return f"has another {name} than this command: {mark} there, {digest} here; {REBUILD}"
    return ""


def _remedy(name: str, workers: str, command: str) -> str:
    if _numbers(workers) < _numbers(command):
        return f"the workers are older: rebuild their image with {name} {command}, or install that on them"
    return f"this command is older: update it to {name} {workers}, or rebuild the workers' image with {command}"


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]
