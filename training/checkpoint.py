"""Checkpoints: a training that is killed goes on from its last epoch, and ends as it would have."""

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from molino import code
from molino.training.command import TakenError, TrainingError

STATE, BEST, LOCK = "state.npz", "best.npz", "lock"
KNOWN = "known"  # what stands beside the variables, as JSON


class Checkpoints:
    """A folder beside the output, `OUTPUT.ID.checkpoint`, while a training works.

    The id follows from all that the training depends on. It holds for each learner the state of its last epoch, and
    the variables of its best. A file appears whole or not at all.
    """

    def __init__(self, folder: str):
        self.folder = folder

    def save(self, name: str, variables: Sequence[Any], best: Sequence[Any] | None, known: Mapping[str, Any]) -> None:
        """Keep the state of a learner after an epoch.

        Args:
          best: variables of the best epoch where it is this one, else None.
          known: what to know when it goes on: JSON values.
        """
        if best is not None:
            self._write(f"{name}.{BEST}", best, {})
        self._write(f"{name}.{STATE}", variables, known)

    def restore(self, name: str, variables: Sequence[Any]) -> dict[str, Any]:
        """Set variables as they were after the last epoch; return what is known of it, or {} where there is none."""
        return self._read(f"{name}.{STATE}", variables)

    def restore_best(self, name: str, variables: Sequence[Any]) -> None:
        """Set the variables as they were after the best epoch."""
        self._read(f"{name}.{BEST}", variables)

    def _write(self, name: str, variables: Sequence[Any], known: Mapping[str, Any]) -> None:
        path = os.path.join(self.folder, name)
        arrays: dict[str, Any] = {f"v{place}": to_numpy(each) for place, each in enumerate(variables)}
        arrays[KNOWN] = np.frombuffer(json.dumps(known).encode(), np.uint8)
        with open(f"{path}.part", "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{path}.part", path)

    def _read(self, name: str, variables: Sequence[Any]) -> dict[str, Any]:
        path = os.path.join(self.folder, name)
        if not os.path.exists(path):
            return {}
        with np.load(path, allow_pickle=False) as found:
            for place, each in enumerate(variables):
                each.assign(found[f"v{place}"])
            return json.loads(found[KNOWN].tobytes())


def to_numpy(variable: Any) -> np.ndarray:
    """Return the value of a variable of Keras, on any backend, or of TensorFlow."""
    value = variable.value if isinstance(variable, keras.Variable) else variable
    return value.numpy() if keras.backend.backend() == "tensorflow" else keras.ops.convert_to_numpy(value)


@contextlib.contextmanager
def checkpoints(output: str, identity: Mapping[str, Any]) -> Iterator[Checkpoints]:
    """Yield the checkpoints of a training; those that an earlier attempt at the very same one left are still there.

    They are deleted when the block ends without an error, with those that others for this output left.

    Raises:
      TakenError: another process is at it.
      TrainingError: the folder cannot be made.
    """
    known = {**identity, "code": code.digest(code.training_files())}
    id_ = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
    folder = f"{output}.{id_}.checkpoint"
    try:
        os.makedirs(folder, exist_ok=True)
        lock = open(os.path.join(folder, LOCK), "w")  # noqa: SIM115
    except OSError as error:
        raise TrainingError(f"cannot make {folder}: {error.strerror}; choose another --output") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise TakenError(f"another process trains for {output}; wait for it") from None
        try:
            yield Checkpoints(folder)
        finally:
            if os.listdir(folder) == [LOCK]:  # nothing to go on from
                shutil.rmtree(folder, ignore_errors=True)
        mine = re.compile(re.escape(output) + r"\.[0-9a-f]{16}\.checkpoint")
        for path in glob.glob(f"{glob.escape(output)}.*.checkpoint"):
            if mine.fullmatch(path):
                shutil.rmtree(path, ignore_errors=True)
