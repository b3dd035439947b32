"""What a person sees while a run works: a bar on a terminal, a line now and then elsewhere."""

import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections import Counter

from transforms.progress import ENVIRONMENT

LINE_SECONDS = 10.0
STAGES = {"read": "1/3 reading", "reduce": "2/3 reducing", "write": "3/3 writing"}


class Watch:
    """Listens to the workers' reports and shows them on standard error.

    Attributes:
      total_bytes: size of the input: what the reading is measured by.
    """

    def __init__(self, total_bytes: int, *, quiet: bool):
        self.total_bytes, self.quiet = total_bytes, quiet
        self.amounts: Counter[str] = Counter()
        self._stage, self._started, self._shown = "read", time.monotonic(), time.monotonic()

    def __enter__(self) -> "Watch":
        if not self.quiet:
            self._folder = tempfile.mkdtemp(prefix="molino-")
            path = os.path.join(self._folder, "progress")
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.bind(path)
            self._socket.settimeout(0.2)
            os.environ[ENVIRONMENT] = path
            self._bar = self._make_bar() if sys.stderr.isatty() else None
            self._end = threading.Event()
            self._thread = threading.Thread(target=self._listen, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self.quiet:
            os.environ.pop(ENVIRONMENT, None)
            self._end.set()
            self._thread.join()
            self._socket.close()
            if self._bar is not None:
                self._bar.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _make_bar(self):
        from tqdm import tqdm

        return tqdm(
            total=100,
            desc=STAGES["read"],
            bar_format="{desc:13}{percentage:3.0f}% |{bar}| {postfix} [{elapsed}]",
            leave=False,
            dynamic_ncols=True,
            file=sys.stderr,
        )

    def _listen(self) -> None:
        while not self._end.is_set():
            with contextlib.suppress(TimeoutError, ValueError, KeyError):
                message = json.loads(self._socket.recv(4096))
                self._stage = message.pop("stage")
                for name, amount in message.items():
                    self.amounts[f"{self._stage}.{name}"] += amount
            self._show()

    def _share(self) -> float:
        whole = self.total_bytes if self._stage == "read" else self.amounts["read.rows"]
        done = self.amounts["read.bytes"] if self._stage == "read" else self.amounts[f"{self._stage}.rows"]
        return min(1.0, done / whole) if whole else 0.0

    def _show(self) -> None:
        now = time.monotonic()
        rows = self.amounts[f"{self._stage}.rows"]
        rate = self.amounts["read.rows"] / max(now - self._started, 1e-3)
        text = f"{rows:,} rows, {rate:,.0f} rows/s overall"
        if self._bar is not None:
            self._bar.set_description_str(STAGES.get(self._stage, self._stage), refresh=False)
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.n = round(100 * self._share())
            self._bar.refresh()
        elif now - self._shown >= LINE_SECONDS:
            self._shown = now
            stage = STAGES.get(self._stage, self._stage)
            print(
                f"molino: {stage}: {self._share():.0%}, {text}, {now - self._started:.0f} s",
                file=sys.stderr,
                flush=True,
            )
