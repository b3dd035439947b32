"""What a person sees while a run works: a bar on a terminal, a line now and then elsewhere."""

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

from molino.transforms.errors import DataError
from molino.transforms.files.temporary import make_folder, remove_folder
from molino.transforms.progress import ENVIRONMENT

Ask = Callable[[], tuple[float, str]]
LINE_SECONDS = 10.0
ASK_SECONDS = 1.0


class Watch:
    """Listens to the workers' reports, tells them who asks, and shows them on standard error unless it is to be quiet.

    Reading is measured by the bytes of the input, `total_bytes`. `noun` and `stages` are as a Plan has them, "read" the
    first; `ask` is its `how_far`, or the runner's, for workers from which no report comes.
    """

    def __init__(self, total_bytes: int, *, quiet: bool, noun: str, stages: Mapping[str, str], ask: Ask | None = None):
        self.total_bytes, self.quiet, self.noun, self.stages, self.ask = total_bytes, quiet, noun, stages, ask
        self.amounts: Counter[str] = Counter()
        self._started = self._shown = self._asked = time.monotonic()
        self._answer = self._last = (0.0, "")

    def __enter__(self) -> "Watch":
        self._screen = sys.stderr  # as it is now: it is turned aside while the pipeline runs
        self._folder, self._socket = "", socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._listens = self.ask is not None
        if not (self.quiet and os.environ.get(ENVIRONMENT)):  # else whoever started this listens to the workers
            # a run goes on without reports, too: where no temporary folder can be written, or where its path is too
            # long for a socket; then nothing is known but what the runner is asked
            with contextlib.suppress(OSError, DataError):
                self._folder = make_folder()
                path = os.path.join(self._folder, "progress")
                self._socket.bind(path)
                os.environ[ENVIRONMENT] = path
                self._listens = True
        if self._listens:
            self._socket.settimeout(0.2)
            self._bar = None
            if self._screen.isatty() and not self.quiet:
                from tqdm import tqdm

                form = "{percentage:3.0f}% |{bar}| {desc} [{elapsed}]"
                self._bar = tqdm(total=100, bar_format=form, leave=False, dynamic_ncols=True, file=self._screen)
            self._end = threading.Event()
            self._thread = threading.Thread(target=self._listen, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder:
            os.environ.pop(ENVIRONMENT, None)
        if self._listens:
            self._end.set()
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
                own.sendto(b"", self._socket.getsockname())  # it waits for messages
            self._thread.join()
            if self._bar is not None:
                self._bar.close()
        self._socket.close()
        if self._folder:
            remove_folder(self._folder)

    def _listen(self) -> None:
        while not self._end.is_set():
            with contextlib.suppress(TimeoutError, ValueError, KeyError):
                message = json.loads(self._socket.recv(4096))
                stage = message.pop("stage")
                for name, amount in message.items():
                    self.amounts[f"{stage}.{name}"] += amount
            self._show()

    def _shares(self) -> dict[str, float]:
        """Return how much of each stage is done. Stages overlap: a shard is written while the next is reduced."""
        rows = self.amounts["read.rows"]
        shares = {stage: self.amounts[f"{stage}.rows"] / rows if rows else 0.0 for stage in self.stages}
        # headers are no records, and a report may be lost: what comes after the reading proves its end
        read = self.amounts["read.bytes"] / self.total_bytes if self.total_bytes else 1.0
        later = any(share for stage, share in shares.items() if stage != "read")
        return {**shares, "read": 1.0 if later else min(read, 0.99)}

    def _tell(self, now: float) -> tuple[float, str]:
        """Return the share of the stage at work that is done, and what a person reads."""
        if self.ask and not self.amounts:
            if now - self._asked >= ASK_SECONDS or not self._answer[1]:
                self._asked, self._answer = now, self.ask()
            return self._answer
        shares = self._shares()
        stage = next((stage for stage, share in shares.items() if share < 1), list(self.stages)[-1])
        rate = self.amounts["read.rows"] / max(now - self._started, 1e-3)
        text = f"{self.stages[stage]}, {self.amounts[f'{stage}.rows']:,} {self.noun}, {rate:,.0f} {self.noun}/s read"
        return min(1.0, shares[stage]), text

    def line(self) -> str:
        """Return how far the work is, as a person reads it; "" before anything is known."""
        share, text = self._last
        return f"{share:4.0%} {text}".strip() if text else ""

    def _show(self) -> None:
        now = time.monotonic()
        share, text = self._last = self._tell(now)
        if self._bar is not None:
            self._bar.set_description_str(text, refresh=False)
            self._bar.n = round(100 * share)
            self._bar.refresh()
        elif now - self._shown >= LINE_SECONDS and not self.quiet:
            self._shown = now
            print(f"molino: {share:4.0%} {text}, {now - self._started:.0f} s", file=self._screen, flush=True)
