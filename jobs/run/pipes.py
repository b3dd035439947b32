"""What comes through a pipe, kept in a temporary file: a run reads its input several times, and in pieces."""

import errno
import hashlib
import os
import stat
import threading
from typing import IO

from molino.transforms.errors import DataError, OptionError
from molino.transforms.files import storage
from molino.transforms.files.list_files import Listing
from molino.transforms.files.temporary import make_folder

STDIN = "-"
BLOCK_BYTES = 1 << 20
WAIT = 5.0  # seconds for somebody to open a pipe's other end


def is_pipe(path: str) -> bool:
    """Return whether an input is standard input, a named pipe, or a process that the shell puts in its place."""
    try:
        return path == STDIN or (storage.is_local(path) and stat.S_ISFIFO(os.stat(path).st_mode))
    except OSError:  # whoever reads it says so
        return False


def read_pipe(path: str) -> Listing:
    """Read a pipe to its end into a file that goes with this process, and return that file.

    It is called `stdin`, or `pipe-` and the first digits of its sha256, which stands for it in a run's identity. Raises
    DataError: it cannot be read, nobody writes to it, or the disk is full. Raises OptionError: it is a terminal.
    """
    if path == STDIN and os.isatty(0):
        why = "reads what is piped in, and standard input is a terminal"
        raise OptionError(f"--input - {why}; try: command | molino ...")
    folder, state, size = make_folder(), hashlib.sha256(), 0
    spooled = storage.join(folder, "data")
    with _open(path) as source, storage.open_output(spooled) as file:
        while True:
            with storage.explained(path, "read"):
                block = source.read(BLOCK_BYTES)
            if not block:
                break
            state.update(block)
            size += len(block)
            with storage.explained(spooled, "write"):
                file.write(block)
    name = "stdin" if path == STDIN else f"pipe-{state.hexdigest()[:8]}"
    held = storage.join(folder, name)
    os.rename(spooled, held)
    found = storage.FileInfo(held, size, 0, state.hexdigest())
    return Listing(path=held, root=storage.join(folder, ""), files=[found], skipped={}, is_open=False)


def _open(path: str) -> IO[bytes]:
    opened: list[IO[bytes]] = []

    def work() -> None:
        opened.append(open(0 if path == STDIN else path, "rb", closefd=path != STDIN))  # noqa: SIM115

    with storage.explained(path, "read"):
        if path == STDIN:
            work()
        elif not os.access(path, os.R_OK):
            raise PermissionError(errno.EACCES, "", path)
        else:  # where nobody writes this waits for ever, and a thread can be left alone
            waiting = threading.Thread(target=work, daemon=True)
            waiting.start()
            waiting.join(WAIT)
    if not opened:
        raise DataError(f"no process writes to the pipe {path}; start that process first")
    return opened[0]
