"""Checkpoints: a training that is killed goes on from its last epoch, and ends as it would have."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

STATE, BEST = "last.state", "best.state"  # how the names of the files end, which a failed run keeps
KNOWN = "known"  # what stands beside the variables, as JSON


class Checkpoints:
    """In the folder of a run's work units: each learner's state after its last epoch, and the variables of its best."""

    def __init__(self, folder: str):
        self.folder = folder

    def save(self, name: str, variables: Sequence[Any], best: Sequence[Any] | None, known: Mapping[str, Any]) -> None:
        """Keep a learner's state after an epoch, what is `known`, as JSON, and `best`, the variables of a new best."""
        if best is not None:
            self._write(f"{name}.{BEST}", best, {})
        self._write(f"{name}.{STATE}", variables, known)

    def restore(self, name: str, variables: Sequence[Any], kind: str = STATE) -> dict[str, Any]:
        """Set variables as they were after the last epoch, or the best; return what is known of it, {} without any."""
        path = os.path.join(self.folder, f"{name}.{kind}")
        if not os.path.exists(path):
            return {}
        with np.load(path, allow_pickle=False) as found:
            for place, each in enumerate(variables):
                each.assign(found[f"v{place}"])
            return json.loads(found[KNOWN].tobytes())

    def _write(self, name: str, variables: Sequence[Any], known: Mapping[str, Any]) -> None:
        path = os.path.join(self.folder, name)
        os.makedirs(self.folder, exist_ok=True)
        arrays: dict[str, Any] = {f"v{place}": each.numpy() for place, each in enumerate(variables)}
        arrays[KNOWN] = np.frombuffer(json.dumps(known).encode(), np.uint8)
        with open(f"{path}.part", "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{path}.part", path)
