"""What trainings read and write, as the run protocol sees it."""

import argparse
import contextlib
import json
import math
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from molino.transforms.errors import DataError

if TYPE_CHECKING:
    from molino.transforms.files.storage import FileInfo

METRICS, REPORT = "metrics.json", "report.html"
TIMES = ("seconds", "tens of seconds", "minutes", "tens of minutes", "hours", "tens of hours", "days")
STEPS = (10, 60, 600, 3600, 36_000, 200_000)  # seconds where each of these ends


def check_local(output: str | None) -> None:
    """Raise DataError where a training would be written to a store."""
    if re.match(r"\w+:/", output or ""):
        what = "what is trained is written to a local folder, as Keras and TensorFlow need it"
        raise DataError(f"--output {output}: {what}; copy it from there")


def list_inputs(args: argparse.Namespace) -> list["FileInfo"]:
    """Return the data files of the run that is trained on, which stay when it is replaced; none where it is no run.

    Raises:
      DataError: the output is in a store.
    """
    from molino.jobs.run.manifest import data_files, read_finished
    from molino.transforms.files import storage

    check_local(args.output)
    folder = storage.folder(args.input[0])
    manifest = read_finished(folder)
    listed = {storage.join(folder, file["path"]) for file in data_files(manifest)} if manifest else set()
    return [file for file in (storage.list_tree(folder) if listed else []) if file.path in listed]


@contextlib.contextmanager
def training_errors(output: str, remedy: str) -> Iterator[None]:
    """Say in one line what stops a training inside the block.

    Args:
      remedy: what takes less memory.
    """
    from molino.transforms.files import storage

    try:
        with storage.explained(output, "write"):
            yield
    except MemoryError:
        raise DataError(f"there is not enough memory; {remedy} takes less") from None
    except UnicodeEncodeError as error:
        raise DataError(f"a name is not UTF-8: {error.object!a}; rename it") from None
    except Exception as error:
        if type(error).__name__ == "ResourceExhaustedError":
            raise DataError(f"there is not enough memory; {remedy} takes less") from None
        if type(error).__module__.startswith("tensorflow") and hasattr(error, "message"):
            told = " ".join(str(error.message).split())[:300]
            raise DataError(f"cannot write {output}: {told}; make room, or write elsewhere") from None
        raise


def write_text(folder: str, name: str, content: Any) -> None:
    """Write a view: a text as it is, anything else as JSON."""
    text = content if isinstance(content, str) else json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text)


def format_order(rows: float | None, rows_a_second: float) -> str:
    """Return how long rows take, as an order of magnitude: rates of one machine say no more of another.

    >>> format_order(4 * 603_559, 10_000), format_order(600, 10_000)
    ('minutes, at 10,000 titles a second', 'tens of seconds, at 10,000 titles a second')
    """
    if not rows:
        return "a time that is not known"
    seconds = 15 + rows / rows_a_second  # the start of TensorFlow
    order = TIMES[sum(seconds >= step for step in STEPS)]
    return f"{order}, at {10 ** round(math.log10(rows_a_second)):,} titles a second"
