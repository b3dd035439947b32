"""Loops that Numba compiles, and where it keeps them: compiling takes many seconds, and is done once."""

import os
from collections.abc import Callable
from typing import Any

import numba

from molino.caches import absolute, cache_folder, can_write


def compiler(**options: Any) -> Callable[[Callable], Any]:
    """Return a decorator: Numba's, for functions that run without Python, several at a time in threads."""

    def compiled(function: Callable) -> Any:
        kept = _find_cache(function.__code__.co_filename)
        return numba.njit(nogil=True, cache=kept, **options)(function)

    return compiled


def _find_cache(source: str) -> bool:
    """Let Numba keep its code where the user said, else beside the source, else in the cache; return whether it can.

    Numba's own choice ends in an error where neither the source's folder nor the user's home can be written, and makes
    a folder named ~ for a user without one.
    """
    beside = os.path.join(os.path.dirname(os.path.abspath(source)), "__pycache__")
    chosen = absolute(numba.config.CACHE_DIR)
    if not can_write(chosen):
        chosen = "" if can_write(beside) else cache_folder("numba") or ""
    numba.config.CACHE_DIR = chosen
    return can_write(chosen or beside)
