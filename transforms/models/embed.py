"""Embed titles with a model: planned in the driver, opened once a process, called on Arrow arrays.

Importing this module loads no TensorFlow. A model that is an NNLM table needs none in the workers either.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import glob
import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from molino import code, machine
from molino.transforms.errors import DataError, OptionError
from molino.transforms.files import carry, storage
from molino.transforms.models import model_files, nnlm
from molino.transforms.models.tensorflow_process import ask_tensorflow, start_tensorflow

log = logging.getLogger(__name__)
log.setLevel(logging.WARNING)  # the root logger is set to hide what Beam says
# titles that the model itself gets at once: more is hardly faster, and models that pad take the memory of the longest
GENERIC_BATCH = 4096
STALE_SECONDS = 86_400  # after that long, what a killed process left in the cache is deleted
ModelOutput = tuple[str, str]  # a model's digest, and which of its outputs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model(model_files.PlannedFiles):
    """A model as planned: small, and the same for every worker."""

    name: str  # what the user calls it
    bytes: int  # size of the SavedModel
    dim: int  # length of a vector
    kind: str  # "table" when the compiled path is used, "generic" when TensorFlow calls the model
    reason: str = ""  # why the generic path; "" for a table
    exact: bool = True  # the vectors are bit for bit the model's own
    strip_punctuation: bool = False  # this and the next: how a table's model splits titles
    keep_empty: bool = False
    vocabulary: int = 0  # tokens of a table
    buckets: int = 0  # rows for all other tokens
    suspects: tuple[str, ...] = ()  # what its graph can do besides computing, taken on trust
    output: str = ""  # which of several outputs, as the user named it; "" for the only one
    grown_on: str = ""  # what it was grown on, see `model_files.grown_on`
    finite: bool = False  # whether its vectors are finite whatever the title: known of tables alone

    def sent_name(self) -> str:
        """Return the name under which the files are sent: the cache's own for those of a table."""
        return os.path.basename(self.path) if self.kind == "table" else self.digest

    def receive(self) -> str:
        """Return the folder of the files on this machine: a table may lie in its cache."""
        if self.path or self.kind != "table":
            return super().receive()
        name = os.path.basename(self.sent)
        entry = model_files.model_cache("models", name)
        if os.path.isdir(entry):
            return entry
        sent = model_files.model_cache("sent", name)
        return carry.receive(self.sent, sent, lambda folder: bool(_read_facts(folder)))


def plan_models(
    locations: dict[str, str], *, sha256: dict[str, str] | None = None, trust: bool = False, exact: bool = False
) -> list[Model]:
    """Find models, check them, and choose how to embed with each; return them in their order.

    Call it before the pipeline; it may take a minute. TensorFlow is started once for all. Raises OptionError where
    `sha256` has none, or one of no model, DataError where a model is not there, is another one, cannot be loaded, or is
    not to be trusted.

    `locations` are, by the models' names, folders or archives of SavedModels or TF Hub URLs; with #OUTPUT or
    #SIGNATURE/OUTPUT for one of several. `sha256` has digests that some must have. `trust` takes models whose
    operations can touch files or the network. `exact` is for bit-equality with the model, or the model itself.
    """
    pinned = sha256 or {}
    for name in pinned:
        if name not in locations:
            raise OptionError(f"--model-sha256 names no model: {name}; there are {', '.join(locations)}")
    if not os.path.isdir(model_files.model_cache("models")):
        start_tensorflow()  # none is known: TensorFlow is imported while files are read
    places = {name: model_files.split_output(at) for name, at in locations.items()}
    urls = [place for place, _ in places.values() if place.startswith(("https://", "http://"))]  # of TF Hub
    resolved = dict(zip(urls, ask_of_models("resolve", [{"url": url} for url in urls]), strict=True))
    folders = {name: model_files.find_model(resolved.get(place, place)) for name, (place, _) in places.items()}
    with concurrent.futures.ThreadPoolExecutor(machine.cpus()) as threads:
        digests = dict(zip(folders, threads.map(model_files.digest_model, folders.values()), strict=True))
    for name, digest in digests.items():
        model_files.check_digest(name, digest, pinned.get(name))
    asked = {name: (digests[name], output) for name, (_, output) in places.items()}
    facts = _examine_all({asked[name]: (folders[name], at) for name, at in locations.items()}, trust=trust)
    models = []
    for name, location in locations.items():
        folder, (digest, output), known = folders[name], asked[name], facts[asked[name]]
        about = {"name": name, "location": location, "digest": digest, "dim": known["dim"], "output": output}
        size = sum(file.bytes for file in storage.list_tree(folder))
        about |= {"grown_on": model_files.grown_on(folder), "bytes": size}
        reason = known["reason"]
        if not reason and exact and not known["exact"]:
            reason = "its table gives its vectors only to within a millionth, and bit-equality is asked for"
        if reason:
            log.warning("%s: embedded by TensorFlow, which is slower: %s", name, reason)
            about |= {"path": folder, "kind": "generic", "reason": reason}
        else:
            same = ("finite", "exact", "strip_punctuation", "keep_empty", "vocabulary", "buckets")
            about |= {"path": _entry(*asked[name]), "kind": "table", **{key: known[key] for key in same}}
        models.append(Model(**about, suspects=tuple(known["suspects"])))
    return models


# --- the cache: what TensorFlow found out about a model, and its table


def _entry(digest: str, output: str) -> str:
    """Return the folder for the facts of a model's output, as this code and these packages find them out."""
    digest = hashlib.sha256(f"{digest} {output}".encode()).hexdigest() if output else digest
    return model_files.model_cache("models", f"{digest[:32]}-{code_mark()}")


@functools.cache
def code_mark() -> str:
    """Return a short hash of all that what is found out about a model depends on, besides the model."""
    state = hashlib.sha256()
    for name in ("nnlm.py", "saved_model.py", "graph_ops.py", "graph_ops.txt"):
        state.update(Path(__file__).with_name(name).read_bytes())
    state.update(repr(code.versions_of(("tensorflow", "tensorflow-hub", "numba"))).encode())
    return state.hexdigest()[:8]


def _examine_all(models: dict[ModelOutput, tuple[str, str]], *, trust: bool) -> dict[ModelOutput, dict[str, Any]]:
    """Return the facts of models, given by folder and location; those that the cache lacks are put there."""
    facts = {asked: _read_facts(_entry(*asked)) for asked in models}
    for asked, known in facts.items():
        if known and known["suspects"] and not trust:
            from molino.transforms.models.graph_ops import untrusted

            raise DataError(untrusted(models[asked][1], known["suspects"]))
    missing = [asked for asked, known in facts.items() if not known]
    targets = {asked: f"{_entry(*asked)}.{uuid.uuid4().hex}.part" for asked in missing}
    try:
        requests = []
        for asked, target in targets.items():
            with storage.explained(target, "write"):
                os.makedirs(target, 0o700)
            folder, label = models[asked]
            requests.append({"folder": folder, "label": label, "trust": trust, "target": target, "output": asked[1]})
        for asked, known in zip(missing, ask_of_models("examine", requests, keep=True), strict=True):
            facts[asked] = _keep_facts(_entry(*asked), targets[asked], known)
    finally:
        for target in targets.values():
            shutil.rmtree(target, ignore_errors=True)
    return facts


def _read_facts(entry: str) -> dict[str, Any]:
    """Return what is known of a model; nothing when it is not there or not as it was written."""
    try:
        with open(os.path.join(entry, "facts.json"), encoding="utf-8") as file:
            facts = json.load(file)
        found = {name: _checksum(os.path.join(entry, name)) for name in facts["files"]}
    except (OSError, ValueError):
        return {}
    return facts if found == facts["files"] else {}


def _checksum(path: str) -> str:
    """Return what tells of damage to this user's own file, in a fifth of the time that sha256 takes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def _keep_facts(entry: str, target: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Put what was found out in the cache, in one step, and delete what other code had found out."""
    if facts["kind"] == "generic":
        shutil.rmtree(target)
        os.mkdir(target, 0o700)
    with storage.explained(target, "write"):
        facts["files"] = {name: _checksum(os.path.join(target, name)) for name in sorted(os.listdir(target))}
        storage.write_atomic(os.path.join(target, "facts.json"), json.dumps(facts).encode())
        if os.path.isdir(entry) and not _read_facts(entry):
            shutil.rmtree(entry)  # damaged
        with contextlib.suppress(OSError):  # another process was faster
            os.rename(target, entry)
        for other in glob.glob(f"{glob.escape(entry.rpartition('-')[0])}-*"):
            at_work = other.endswith(".part") and time.time() - os.path.getmtime(other) <= STALE_SECONDS
            if other != entry and not at_work:
                shutil.rmtree(other, ignore_errors=True)
    return facts


def ask_of_models(function: str, requests: Sequence[Mapping[str, Any]], *, keep: bool = False) -> list[Any]:
    """Return what a function of `saved_model` gives for each request, in another process."""
    return ask_tensorflow(
        f"molino.transforms.models.saved_model:{function}", requests, doing="looked at the models", keep=keep
    )


# --- in a worker


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coverage:
    """How much of some titles a table's vocabulary knows; a title without tokens has one, the empty token."""

    titles: int = 0
    tokens: int = 0
    unknown: int = 0  # how many tokens are not in the vocabulary
    words: Mapping[str, int] = dataclasses.field(default_factory=dict)  # how often each unknown token occurs


class Embedder:
    """What embeds titles with one planned model; made by `open_embedder`. Safe for threads."""

    def __init__(self, model: Model):
        self.model = model
        self.table: nnlm.TokenTable | None = None  # mapped; None when TensorFlow embeds
        self.rule = nnlm.Split(strip_punctuation=model.strip_punctuation, keep_empty=model.keep_empty)
        if model.kind == "table":
            path = model.receive()
            with storage.explained(path, "read"):
                self.table = nnlm.TokenTable(path)
            return
        from molino.transforms.models import saved_model

        self._call = saved_model.load(model.checked(), model.location, model.output)

    def embed(self, titles: pa.Array | pa.ChunkedArray | Sequence[str]) -> np.ndarray:
        """Return `(n, dim) float32`, C-contiguous, row i for title i. `titles`: strings without nulls."""
        if not isinstance(titles, pa.Array):
            whole = pa.chunked_array([titles], pa.string()) if not isinstance(titles, pa.ChunkedArray) else titles
            titles = pa.concat_arrays(whole.chunks) if whole.num_chunks else pa.array([], pa.string())
        if self.table is not None:
            return self.table.embed(titles, self.rule)
        out = np.empty((len(titles), self.model.dim), np.float32)
        for start in range(0, len(titles), GENERIC_BATCH):
            part = titles.slice(start, GENERIC_BATCH).to_numpy(zero_copy_only=False)
            out[start : start + len(part)] = self._call(part)
        return out

    def token_ids(self, titles: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Return (rows of a table, offsets), int32 and int64: title i has `rows[offsets[i] : offsets[i + 1]]`."""
        _, _, offsets, rows = self._find(titles)
        return rows, offsets

    def coverage(self, titles: pa.Array) -> Coverage:
        """Return how many tokens the vocabulary knows, and the others. Raises TypeError where the model is no table."""
        text, tokens, _, rows = self._find(titles)
        unknown = np.flatnonzero(rows >= self.model.vocabulary)
        words = pa.LargeStringArray.from_buffers(len(rows), pa.py_buffer(tokens), pa.py_buffer(text))
        found, times = pc.value_counts(words.take(pa.array(unknown)).cast(pa.string())).flatten()
        counts = dict(zip(found.to_pylist(), times.to_pylist(), strict=True))
        return Coverage(titles=len(titles), tokens=len(rows), unknown=len(unknown), words=counts)

    def _find(self, titles: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        if self.table is None:
            raise TypeError(f"the model {self.model.name} is embedded by TensorFlow; its tokens are not known")
        text, tokens, offsets = self.table.split(titles, self.rule)
        return text, tokens, offsets, self.table.find(text, tokens)


def embed_many(embedders: Sequence[Embedder], titles: pa.Array) -> list[np.ndarray]:
    """Return what each embedder's `embed` gives; what splits titles or finds tokens alike does so once."""
    outs = [
        np.empty((len(titles), embedder.model.dim), np.float32) if embedder.table else embedder.embed(titles)
        for embedder in embedders
    ]
    for start in range(0, len(titles), nnlm.TITLES_AT_ONCE):
        part = titles.slice(start, nnlm.TITLES_AT_ONCE)
        splits: dict[nnlm.Split, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        found: dict[tuple, np.ndarray] = {}
        for embedder, out in zip(embedders, outs, strict=True):
            if table := embedder.table:
                rule = embedder.rule
                if rule not in splits:
                    splits[rule] = table.split(part, rule)
                text, tokens, offsets = splits[rule]
                key = (table.words_sha256, table.buckets, rule)
                if key not in found:
                    found[key] = table.find(text, tokens)
                table.add(found[key], offsets, out[start : start + len(part)])
    return outs


def open_embedder(model: Model) -> Embedder:
    """Return this process's embedder of a model, opened once; raise DataError where it is not here or was changed."""
    return model_files.open_once(model, Embedder)
