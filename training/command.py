"""What every command of training does around its work: options, the output folder, progress, errors, exit codes."""

import argparse
import contextlib
import difflib
import fcntl
import logging
import os
import re
import resource
import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from molino import environment
from molino.stderr import no_stderr

DONE, DATA, USAGE, EXISTS = 0, 1, 2, 3
LINE_SECONDS = 10.0
BACKENDS = ("tensorflow", "jax", "torch")
UNTOUCHED = "what was at --output is untouched"


class TrainingError(Exception):
    """The input or the disk does not allow it: says what is wrong and what to do, in one line."""


class TakenError(Exception):
    """Something is at the output that must not be replaced."""


class Once(argparse._StoreAction):
    """Store a value, of an option that may stand once: of two, argparse would silently take the last."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, flag: str | None = None) -> None:
        if self.dest in parser.given:
            parser.error(f"{flag} is given twice")
        parser.given[self.dest] = flag
        super().__call__(parser, namespace, values, flag)


class Parser(argparse.ArgumentParser):
    """A parser whose errors name the nearest right option, and whose options cannot be shortened or given twice.

    Attributes:
      given: flags of the options with a value that stood on the command line, by their destination.
    """

    def __init__(self, *, prog: str, description: str, epilog: str = "", kind: str = "run of this command"):
        super().__init__(
            prog=prog,
            description=textwrap.dedent(description).strip(),
            epilog=f"{textwrap.dedent(epilog).strip()}\n\n{exit_codes(kind)}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.given: dict[str, str | None] = {}
        for name in (None, "store"):
            self.register("action", name, Once)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, in one line, and exit with 2."""
        self.exit(USAGE, f"molino: {message}; see {self.prog} --help\n")

    def parse_strictly(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Return the options; exit with 2 where one is not known."""
        given, rest = self.parse_known_args(arguments)
        if rest:
            flag = next((word for word in rest if word.startswith("-")), "").partition("=")[0]
            known = [option for action in self._actions for option in action.option_strings]
            near = difflib.get_close_matches(flag, known, 1, 0.75) if flag else []
            hint = f"; did you mean {near[0]}?" if near else ""
            self.error(f"no such option: {flag}{hint}" if flag else f"unexpected argument {rest[0]!r}")
        return given


def exit_codes(kind: str) -> str:
    """Return what a help text says of exit codes; `kind` is what the output may hold already."""
    return f"""\
exit codes:
  {DONE}  done
  {DATA}  the input or the disk does not allow it; {UNTOUCHED}
  {USAGE}  the command line is wrong
  {EXISTS}  something is at --output, and --overwrite is not given or it is no {kind}
  129, 130, 143  stopped by SIGHUP, Ctrl-C or SIGTERM; {UNTOUCHED}
"""


def whole(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
    """Return a parser of whole numbers from `least` to `most`."""

    def parse(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, not {text}")
        if number > most:
            raise argparse.ArgumentTypeError(f"must be at most {most:,}, not {text}")
        return number

    parse.__name__ = "whole number"  # what argparse calls it
    return parse


def place(text: str) -> str:
    """Parse a path, which an unset variable of the shell would make empty."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty; is a variable unset?")
    return text


def share(text: str) -> float:
    """Parse a number from 0 up to, but not, 1."""
    number = float(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to less than 1, not {text}")
    return number


def rate(text: str) -> float:
    """Parse a number above 0."""
    number = float(text)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and below 1, not {text}")
    return number


def run_command(
    work: Callable[[], Sequence[tuple[str, str]]], output: str, explain: Callable[[Exception], str | None]
) -> int:
    """Do the work, print the summary that it returns, or in one line what stopped it, and return the exit code.

    Args:
      explain: what a user reads of an error, or None where it is the program's own.
    """
    started = time.monotonic()
    environment.prepare()
    try:
        with _signals_as_exits():
            told = work()
    except TakenError as error:
        print(f"molino: {error}", file=sys.stderr)
        return EXISTS
    except SystemExit as stop:
        print(f"molino: stopped; {UNTOUCHED}", file=sys.stderr)
        return int(stop.code or 0)
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        print(f"molino: {message}", file=sys.stderr)
        return DATA
    for name, text in [*told, ("time", f"{time.monotonic() - started:.1f} s, {peak_bytes() / 1e9:.2f} GB at most")]:
        print(f"{name:>12}  {text}")
    print(f"{'output':>12}  {os.path.abspath(output)}")
    return DONE


def peak_bytes() -> int:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def explain(error: Exception) -> str | None:
    """Return what a user reads of an error, or None where it is the program's own."""
    from molino.training.runs import RunError

    if isinstance(error, TrainingError | RunError):
        return str(error)
    if isinstance(error, OSError):
        return (
            f"cannot write {error.filename or 'the output'}: {error.strerror or error}; write elsewhere, or make room"
        )
    if isinstance(error, UnicodeEncodeError):
        return f"a name is not UTF-8: {error.object!a}; rename it"
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return "there is not enough memory; a smaller --batch takes less"
    return None


@contextlib.contextmanager
def _signals_as_exits() -> Iterator[None]:
    """Turn SIGTERM, SIGHUP and Ctrl-C into SystemExit with 143, 129 and 130, so that what was begun is tidied up."""

    def stop(number: int, _: Any) -> NoReturn:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, stop) for number in environment.stop_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def load_keras() -> str:
    """Import Keras and its backend without their chatter and return the backend's name.

    Raises:
      TrainingError: they are not there.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if (name := os.environ.setdefault("KERAS_BACKEND", "tensorflow")) not in BACKENDS:
        raise TrainingError(f"KERAS_BACKEND is {name}; what can train is {', '.join(BACKENDS)}")
    try:
        with no_stderr():
            import keras

            keras.ops.convert_to_numpy(keras.ops.zeros(1))  # the first operation prints too
        # batches of other sizes make TensorFlow trace again, which it warns of
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    except ImportError as error:
        raise TrainingError(
            f"training needs Keras and its backend ({error}); pip install -r requirements/tensorflow.txt, or set "
            "KERAS_BACKEND"
        ) from None
    return keras.backend.backend()


def load_tensorflow() -> None:
    """Import TensorFlow and Keras on it.

    Raises:
      TrainingError: they are not there, or Keras is to use something else.
    """
    if (backend := load_keras()) != "tensorflow":
        raise TrainingError(f"KERAS_BACKEND is {backend}; a SavedModel needs tensorflow")


# --- the output folder


def check_output(path: str, *, overwrite: bool, mark: str, kind: str) -> str:
    """Return the folder of the output; its parent is there afterwards, and can be written.

    Args:
      mark: a file that only a folder of this kind holds.
      kind: what the folder is called.

    Raises:
      TakenError: something is there that must not be replaced.
      TrainingError: it cannot be written.
    """
    if re.match(r"\w+:/", path):  # with one slash it would be a folder here that nobody means
        raise TrainingError(f"--output {path}: a {kind} is written to a local folder; copy it from there")
    if path.split("/")[0] == "~":
        raise TrainingError(f"--output {path}: no shell has read the ~; write the home folder in full")
    folder = os.path.abspath(path)
    if os.path.lexists(folder) and not (os.path.isdir(folder) and not os.listdir(folder)):
        if not os.path.isfile(os.path.join(folder, mark)):
            raise TakenError(f"{path} is there and is no {kind}; choose another --output")
        if not overwrite:
            raise TakenError(f"{path} holds a {kind}; add --overwrite to replace it, or choose another --output")
    parent = os.path.dirname(folder)
    try:
        os.makedirs(parent, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"cannot make {parent}: {error.strerror}; choose another --output") from None
    if not os.access(parent, os.W_OK):
        raise TrainingError(f"cannot write in {parent}: no permission; choose another --output")
    return folder


def check_apart(output: str, given: str, flag: str = "--input") -> None:
    """Raise TrainingError where an input is not there, or the output is a part of it."""
    if "://" in given:
        return
    if not os.path.exists(given):
        raise TrainingError(f"there is no file or folder {given}; check {flag}")
    if os.path.realpath(output).startswith(os.path.join(os.path.realpath(given), "")):
        raise TrainingError(f"--output {output} lies inside {flag} {given}; choose another --output")


@contextlib.contextmanager
def drafted(folder: str, *, overwrite: bool) -> Iterator[str]:
    """Yield a folder to write in, beside the output; it takes the output's place when the block ends without an error.

    It is not there yet: who writes it makes it. What was at the output goes in the same moment. What a killed process
    left is cleared away first.

    Args:
      overwrite: replace what is at the output.

    Raises:
      TakenError: another process writes to this output, or has written to it meanwhile.
    """
    work, lock = f"{folder}.draft", f"{folder}.draft.lock"
    with open(lock, "w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(held.fileno()), os.stat(lock)):
                raise FileNotFoundError(lock)  # its last holder has just deleted it
        except OSError:
            raise TakenError(f"another process writes to {folder}; wait for it") from None
        try:
            if os.path.lexists(aside := f"{work}.replaced") and not os.path.lexists(folder):
                os.rename(aside, folder)  # killed between two renames
            for left in (work, aside):
                shutil.rmtree(left, ignore_errors=True)
            yield work
            if not overwrite and os.path.isdir(folder) and os.listdir(folder):
                raise TakenError(f"another process has written to {folder} meanwhile; choose another --output")
            publish(work, folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
            os.unlink(lock)


def publish(work: str, folder: str) -> None:
    """Put a complete folder in place; one that is there goes in the same moment."""
    aside = f"{work}.replaced"
    if os.path.lexists(folder):
        os.rename(folder, aside)
    try:
        os.rename(work, folder)
    except OSError:
        if os.path.lexists(aside):
            os.rename(aside, folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)


class Progress:
    """What a person sees meanwhile, on standard error: a bar on a terminal, else a line every 10 seconds."""

    def __init__(self, *, quiet: bool):
        self.quiet, self.started = quiet, time.monotonic()
        self.shown = self.started
        self.bar: Any = None
        self.parts = (0, 1)

    def __enter__(self) -> "Progress":
        if not self.quiet and sys.stderr.isatty():
            from tqdm import tqdm

            layout = "{percentage:3.0f}% |{bar}| {desc} [{elapsed}]"
            self.bar = tqdm(total=100, bar_format=layout, leave=False, dynamic_ncols=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def note(self, text: str) -> None:
        """Write a line that stays."""
        if not self.quiet:
            (print if self.bar is None else self.bar.write)(f"molino: {text}", file=sys.stderr)

    def part(self, number: int, of: int) -> None:
        """Let what is shown from now on be one of several parts, which take equally long."""
        self.parts = number, of

    def show(self, done: float, total: float, text: str | float) -> None:
        """Show how far the training, or a part of it, is; a number is its mean loss."""
        told = text if isinstance(text, str) else f"training, loss {text:.4f}"
        now = time.monotonic()
        number, of = self.parts
        done, total = number * total + done, of * total
        if self.bar is not None:
            self.bar.set_description_str(told, refresh=False)
            self.bar.n = round(100 * done / total)
            self.bar.refresh()
        elif not self.quiet and now - self.shown >= LINE_SECONDS:
            self.shown = now
            print(f"molino: {done / total:4.0%} {told}, {now - self.started:.0f} s", file=sys.stderr, flush=True)
