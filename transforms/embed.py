"""Embed titles with a model: planned in the driver, opened once a process, called on Arrow arrays.

Importing this module loads no TensorFlow. A model that is an NNLM table needs none in the workers either.
"""

import dataclasses
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from transforms import model_files
from transforms.errors import DataError, OptionError

log = logging.getLogger(__name__)
# titles that the model itself gets at once: more is hardly faster, and models that pad take the memory of the longest
GENERIC_BATCH = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """A model as planned: small, and the same for every worker.

    Attributes:
      name: what the user calls it.
      location: where the user said that it is.
      path: local folder: of the table's files, or of the SavedModel.
      digest: sha256 of the SavedModel; see `model_files.digest_model`.
      bytes: size of the SavedModel.
      dim: length of a vector.
      kind: "table" when the compiled path is used, "generic" when TensorFlow calls the model.
      reason: why the generic path; "" for a table.
      exact: the vectors are bit for bit the model's own.
      strip_punctuation, keep_empty: how a table's model splits titles.
      vocabulary: tokens of a table.
      buckets: rows for all other tokens.
    """

    name: str
    location: str
    path: str
    digest: str
    bytes: int
    dim: int
    kind: str
    reason: str = ""
    exact: bool = True
    strip_punctuation: bool = False
    keep_empty: bool = False
    vocabulary: int = 0
    buckets: int = 0


def plan_model(
    name: str, location: str, *, sha256: str | None = None, trust: bool = False, exact: bool = False
) -> Model:
    """Find a model, check it, and choose how to embed with it. Call it before the pipeline; it may take a minute.

    Args:
      name: for messages, and the output's column.
      location: folder of a SavedModel, archive of one, or TF Hub URL.
      sha256: digest that the model must have.
      trust: take a model whose operations can touch files or the network.
      exact: bit-equality with the model, or the model itself.

    Raises:
      OptionError: `sha256` is none.
      DataError: the model is not there, is another one, cannot be loaded, or is not to be trusted.
    """
    return plan_models({name: location}, sha256={name: sha256} if sha256 else {}, trust=trust, exact=exact)[0]


def plan_models(
    locations: dict[str, str], *, sha256: dict[str, str] | None = None, trust: bool = False, exact: bool = False
) -> list[Model]:
    """Plan several models, in their order: TensorFlow is started once for all. See `plan_model`."""
    pinned = sha256 or {}
    for name in pinned:
        if name not in locations:
            raise OptionError(f"--model-sha256 names no model: {name}; there are {', '.join(locations)}")
    urls = [location for location in locations.values() if model_files.is_url(location)]
    answers = _ask([("resolve", {"url": url}) for url in urls])
    resolved = dict(zip(urls, answers, strict=True))
    folders = {name: model_files.find_model(resolved.get(at, at)) for name, at in locations.items()}
    digests = {name: model_files.digest_model(folder) for name, folder in folders.items()}
    for name, digest in digests.items():
        model_files.check_digest(name, digest, pinned.get(name))
    requests = [("examine", {"folder": folders[name], "label": at, "trust": trust}) for name, at in locations.items()]
    facts = _ask(requests)
    return [
        Model(
            name=name,
            location=at,
            path=folders[name],
            digest=digests[name],
            bytes=model_files.size_of(folders[name]),
            **fact,
        )
        for (name, at), fact in zip(locations.items(), facts, strict=True)
    ]


def _ask(requests: Sequence[tuple[str, dict[str, Any]]]) -> list[Any]:
    """Have another process answer what needs TensorFlow; it starts only when something is asked."""
    if not requests:
        return []
    root = str(Path(__file__).resolve().parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-m", "transforms.saved_model"],
        input=json.dumps(requests),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [""])[-1][:300]
        raise DataError(f"TensorFlow ended with the code {done.returncode} while it looked at the models: {last}")
    answers = json.loads(done.stdout.splitlines()[-1])
    for answer in answers:
        if "error" in answer:
            raise {"DataError": DataError, "OptionError": OptionError}[answer["kind"]](answer["error"])
    return [answer["answer"] for answer in answers]


class Embedder:
    """Embeds titles with the model itself, in TensorFlow. Safe for threads; made by `open_embedder`."""

    def __init__(self, model: Model):
        from transforms import saved_model

        self.model = model
        self._strings = saved_model.as_strings
        self._call = saved_model.load(model.path, model.location)

    def embed(self, titles: pa.Array) -> np.ndarray:
        """Return `(n, dim) float32`, C-contiguous, row i for title i. `titles`: strings without nulls."""
        out = np.empty((len(titles), self.model.dim), np.float32)
        for start in range(0, len(titles), GENERIC_BATCH):
            part = self._strings(titles.slice(start, GENERIC_BATCH))
            out[start : start + len(part)] = self._call(part)
        return out


_open: dict[Model, Embedder] = {}
_opening = threading.Lock()


def open_embedder(model: Model) -> Embedder:
    """Return this process's embedder of a model, opened at the first call.

    Raises:
      DataError: the model's files are not on this machine, or cannot be loaded.
    """
    with _opening:
        if model not in _open:
            _open[model] = Embedder(model)
        return _open[model]
