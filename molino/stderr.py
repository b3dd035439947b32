"""What libraries write to the process's standard error by themselves, dropped."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

_turned = threading.RLock()


@contextlib.contextmanager
def no_stderr() -> Iterator[None]:
    """Drop what is written to standard error inside the block, by compiled code too; one thread at a time."""
    with _turned:
        sys.stderr.flush()
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)
