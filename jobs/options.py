"""Command lines: strict options, for the job first and for Beam then."""

import argparse
import dataclasses
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from molino.transforms.errors import OptionError
from molino.transforms.report.spreadsheet import FORMS
from molino.transforms.text.command_line import CommandLine

if TYPE_CHECKING:
    import pyarrow as pa

    from molino.transforms.text.sources import TextFormat

Kind = TypeVar("Kind")
Number = TypeVar("Number", int, float)
DONE, DATA, USAGE, EXISTS = 0, 1, 2, 3
BUSY = 75  # EX_TEMPFAIL of sysexits.h: the same command may succeed later


def exit_codes(done: str, exists: str, busy: str = "") -> str:
    """Return what a help text says of exit codes: when a command ends with 0, with 3, and with 75 if it ever does."""
    busy = f"  {BUSY}  {busy}\n" if busy else ""
    return f"""\
exit codes:
  {DONE}  {done}
  {DATA}  the input or the disk does not allow it; the earlier output is untouched
  {USAGE}  the command line is wrong
  {EXISTS}  {exists}
{busy}  129, 130, 143  stopped by SIGHUP, Ctrl-C or SIGTERM
"""


EXIT_CODES = exit_codes(
    "done, or done before: the output already holds this very run",
    "refused: the output holds another run, or something else",
    "busy: another run is at work in the output; the same command may succeed later",
)
SAME = ("delimiter", "encoding", "quote", "max_line_bytes", "skip_lines", "trim", "normalize", "sheet")  # in TextFormat
NEAR = 0.75  # how like a known option a wrong one must be to be taken for it, from 0 to 1
EMBEDDED, FLINK, DATAFLOW = "embedded", "FlinkRunner", "DataflowRunner"
RUNNERS = (EMBEDDED, "PrismRunner", FLINK, "SparkRunner", "PortableRunner", DATAFLOW)
# Options of the Flink runner that its job server knows and Beam's Python does not.
FLINK_OPTIONS = (
    "object_reuse",
    "fail_on_checkpointing_errors",
    "number_of_execution_retries",
    "execution_retry_delay",
    "execution_mode_for_batch",
    "state_backend",
    "flink_conf_dir",
    "files_to_stage",
)


class Once(argparse._StoreAction):
    """Store a value; the option given again is an error, where argparse would keep the last and say nothing."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, flag: str | None = None) -> None:
        if flag and self.dest in parser.given:
            parser.error(f"{flag} is given twice{'; name all after one' if self.nargs == '+' else ''}")
        parser.given.add(self.dest)
        super().__call__(parser, namespace, values, flag)


class Options(argparse._ActionsContainer):
    """What options are added to, a line for each: a parser, or a group of its options."""

    def option(
        self, flag: str, metavar: str, kind: Callable[[str], Any], about: str, default: Any = None, **more: Any
    ) -> None:
        """Add an option with a value of a kind; help tells the default, unless `about` does, or ends in brackets."""
        if isinstance(default, int | float | str) and "default" not in about and not about.endswith(")"):
            about += f" (default {default:,})" if isinstance(default, int) else f" (default {default})"
        typed: Any = {} if kind is str else {"type": kind}  # Dataflow's templates know a kind by its name
        self.add_argument(flag, metavar=metavar, help=about, default=default, **typed, **more)

    def choice(self, flag: str, choices: Sequence[str], about: str, **more: Any) -> None:
        """Add an option with one of several values, of which the first is the default."""
        self.add_argument(flag, choices=choices, help=about, **{"default": choices[0], **more})

    def switch(self, flag: str, about: str, **more: Any) -> None:
        """Add an option without a value."""
        self.add_argument(flag, action="store_true", help=about, **more)

    def add_keep(self, what: str) -> None:
        """Add which columns are carried."""
        self.option("--keep", "COL[=NAME]", kept_column, f"{what}; =NAME renames one", default=[], nargs="+")

    def add_csv(self) -> None:
        """Add what the CSV files are for."""
        about = "of the CSV files: plain (default); excel, or excel-es where ; parts lists, opens right in Excel"
        self.choice("--csv", FORMS, f"{about}, and holds no formula")

    def add_not_finite(self, what: str) -> None:
        """Add what becomes of numbers of a model that are not finite."""
        about = f"rows whose {what} are not finite (NaN, infinite) are rejects (default), or get zeros, or stay so"
        self.choice("--not-finite", ("reject", "zero", "keep"), about)


class Group(Options, argparse._ArgumentGroup):
    """Options under a title of their own."""


class Parser(Options, argparse.ArgumentParser):
    """A parser whose errors name the nearest right option, and whose options cannot be shortened or given twice.

    The description is for people, such as the docstring of the module; from "examples:" on it stands below the options.
    Of `examples`, commands, the last is one of this parser, and works after the others.
    """

    raises = False  # whether what is wrong with the options is an OptionError, and not the end of the process

    def __init__(self, *, prog: str, description: str | None, epilog: str = "", exit_codes: str = EXIT_CODES):
        about, examples = split_examples(description or "")
        epilog, form = f"{examples or epilog}\n\n{exit_codes}", argparse.RawDescriptionHelpFormatter
        super().__init__(prog=prog, description=about, epilog=epilog, formatter_class=form, allow_abbrev=False)
        listed = [line.strip() for line in (self.epilog or "").partition("examples:\n")[2].splitlines()]
        own = next((place for place, line in enumerate(listed, 1) if line.startswith(f"{prog} ")), 0)
        self.examples: Sequence[str] = listed[:own]
        self.given: set[str] = set()
        self.words: list[str] = []
        for name in (None, "store"):
            self.register("action", name, Once)

    def add_argument_group(self, title: Any = None, description: Any = None) -> Group:  # type: ignore[override]
        """Return a new group of options."""
        group = Group(self, title, description)
        self._action_groups.append(group)
        return group

    def add_run_options(
        self,
        *,
        inputs: str = "files, folders, globs or pipes, - for standard input; also gs://, s3://, hdfs://",
        shuffles: bool = True,
    ) -> None:
        """Add what every job takes: where from, where to, and how to run.

        `inputs` is what `--input` takes, "" for a job that reads nothing; `shuffles`: it brings rows together, in
        shards.
        """
        beam = "Every option of Beam and of its runners may be added; an option that neither knows is an error."
        self.epilog = f"{beam}\n\n{self.epilog}"
        where = self.add_argument_group("where")
        if inputs:
            where.option("--input", "PATH", place, inputs, nargs="+", required=True)
            where.switch("--follow-links", "read what links inside a folder lead to, each file once")
        else:
            self.set_defaults(input=(), follow_links=False, max_reject_ratio=0.0)
        run = self.add_argument_group("how to run (never changes the rows)")
        about = "embedded (default: this machine, all cores), PrismRunner, FlinkRunner, DataflowRunner ..."
        run.option("--runner", "NAME", str, about, EMBEDDED)
        run.option("--workers", "N", whole(1, 256), "of the embedded runner (default: one a usable core)")
        run.choice("--worker-mode", ("threads", "processes"), "of the embedded runner")
        if shuffles:
            about = "group rows by files in the staging folder, or by the runner's shuffle"
            run.choice("--shuffle", ("auto", "files", "runner"), f"{about} (auto: files when embedded)")
            run.option("--span-bytes", "N", positive, "bytes read at a time (default 16 MiB)", default=16 << 20)
            run.option("--shards", "N", positive, "files of the largest data set (default: by input size)")
        else:
            self.set_defaults(shuffle="runner")
        add_output_options(where, run)
        if not inputs:
            return
        safety = self.add_argument_group("safety")
        about = "publish nothing when a larger share of the records is rejected"
        safety.option("--max-reject-ratio", "R", ratio, about, 0.01)
        safety.switch("--allow-empty", "accept inputs that hold no records at all")

    def add_text_options(
        self, columns: Mapping[str, str], *, encoding: str, quote: str, optional: Sequence[str] = (), keep: bool = False
    ) -> None:
        """Add how the input is written and what its columns are called, names in the job mapped to names in the header.

        `encoding` and `quote` are defaults; `optional` columns may be lacking, unless the user names them; with `keep`
        others are carried.
        """
        text = self.add_argument_group("the input's format")
        text.option("--delimiter", "C", str, "one character, or auto (default): found in the header", "auto")
        text.option("--header", "NAME", str, "all columns, in order, of texts without a header", default=[], nargs="+")
        text.add_argument("--encoding", default=encoding, help=f"utf-8, latin-1, cp1252 ... (default {encoding})")
        text.option("--quote", "C", str, f"quoting character (default: {quote or 'none'})", default=quote)
        text.option("--escape", "C", str, "escape character: the next one is taken literally (default: none)")
        text.option("--max-line-bytes", "N", line_bytes, "longer lines are rejects", default=65536)
        text.option("--skip-lines", "N", natural, "lines before the header, of each text", 0)
        text.switch("--trim", "remove white space at both ends of values")
        about = "nfc: composed accents (é as one character), and blanks for all spaces of Unicode; upper: capitals too"
        text.choice("--normalize", ("off", "nfc", "upper"), f"{about} (default off)")
        text.option("--sheet", "NAME", str, "of Excel workbooks: read only this one (default: the first)", default="")
        text.option("--members", "GLOB", str, "of zip files: read only these (default: all)", default=[], nargs="+")
        for name, column in columns.items():
            shown = f"{column}, where there is one; empty for none" if name in optional else column
            about = f"name of the column, or several to try in order (default {shown})"
            text.option(f"--{name.replace('_', '-')}-column", "NAME", str, about, nargs="+")
        if keep:
            text.add_keep("columns of the input to carry to the output, such as ids")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the options and what else there is."""
        self.given = set()
        self.words = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, in one line, and exit with 2, or raise OptionError."""
        if message.startswith("the following arguments are required"):  # one may be there, in other letters
            if not (self.words or self.raises):
                self.exit(USAGE, self._lesson())
            known = self.flags()
            words = [word.split("=")[0] for word in self.words if word.startswith("--")]
            near = [(word, right) for word in words if word not in known and (right := _nearest(word, known))]
            message += "".join(f"; did you mean {right} by {word}?" for word, right in near[:1])
        if self.raises:
            raise OptionError(f"{message}; see {self.prog} --help")
        self.exit(USAGE, f"molino: {message}; see {self.prog} --help\n")

    def _lesson(self) -> str:
        """Return what a command without any word is answered: what it needs, and an example."""
        formatter = self._get_formatter()
        needed = [action for action in self._actions if action.required and action.nargs != "*"]
        formatter.add_usage(None, needed, ())
        formatter.start_section("needed")
        formatter.add_arguments(needed)
        formatter.end_section()
        shown = ["example:", *(f"  {line}" for line in self.examples), ""] if self.examples else []
        return "\n".join([formatter.format_help(), *shown, f"more: {self.prog} --help\n"])

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is none of an option's choices, and name the nearest."""
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            near = did_you_mean(str(value), known)
            raise argparse.ArgumentError(action, f"invalid choice: {value!r}{near} (choose from {', '.join(known)})")

    def flags(self) -> list[str]:
        """Return every option, with its dashes; those of all subcommands too."""
        found = [flag for action in self._actions for flag in action.option_strings]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                found += [flag for parser in action.choices.values() for flag in parser.flags()]
        return found

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the options of a command that takes none of Beam's; exit with 2 where a flag is not its own."""
        options, rest = self.parse_known_args(args, namespace)
        if rest:
            self._refuse(rest, self.flags())
        return options

    def parse_strictly(self, arguments: Sequence[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
        """Return the job's options and the flags that are Beam's; exit with 2 where a flag is neither's."""
        options, rest = self.parse_known_args(arguments)
        if rest:
            if not rest[0].startswith("-"):
                self.error(f"unexpected argument {rest[0]!r}")
            beam = beam_parser(self.error)
            _, unknown = beam.parse_known_args(rest)
            for name in (word.split("=")[0] for word in rest):
                if name in ("--direct_num_workers", "--direct_running_mode"):
                    self.error(f"{name} is set by --workers and --worker-mode")
            if unknown:
                self._refuse(unknown, [*self.flags(), *(flag for one in beam._actions for flag in one.option_strings)])
        options.command = CommandLine(self.prog, tuple(self.words))
        return options, rest

    def _refuse(self, unknown: list[str], known: list[str]) -> NoReturn:
        """Exit with 2, and name the known option that is nearest to the first unknown one."""
        name = unknown[0].split("=")[0]
        right = _nearest(name, known)
        hint = f"; did you mean {right}?" if right else ""
        self.error(f"no such option: {name}{hint}" if name.startswith("-") else f"unexpected argument {name!r}{hint}")


def is_embedded(runner: str) -> bool:
    """Return whether a runner's name means the one inside this process; DirectRunner is Beam's for any of three."""
    return runner.lower() in (EMBEDDED, "directrunner", "fnapirunner")


def split_examples(text: str) -> tuple[str, str]:
    """Return what stands before "examples:" in a description, and that with all behind it."""
    about, mark, examples = textwrap.dedent(text).strip().partition("examples:\n")
    return about.strip(), mark + examples


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return which known word a wrong one may stand for; "" where none is like it.

    >>> did_you_mean("nmaes", ["names", "titles"])
    '; did you mean names?'
    """
    return "".join(f"; did you mean {near}?" for near in get_close_matches(word, list(known), 1))


def _nearest(name: str, known: Sequence[str]) -> str:
    """Return the known option that is most like a wrong one, or else begins like it; "" where none is."""
    near = get_close_matches(name.replace("_", "-"), [flag.replace("_", "-") for flag in known], 1, NEAR)
    right = next((flag for flag in known if near and flag.replace("_", "-") == near[0]), "")
    return right or next((flag for flag in known if len(name) > 3 and flag.startswith(name)), "")


def beam_parser(report: Callable[[str], NoReturn]) -> argparse.ArgumentParser:
    """Return a parser of every option that Beam and its runners know; `report` is called with what is wrong."""
    from apache_beam.options.pipeline_options import PipelineOptions

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, conflict_handler="resolve")
    parser.error = report  # type: ignore[assignment]
    seen: set[type] = set()
    todo = PipelineOptions.__subclasses__()
    while todo:
        kind = todo.pop()
        if kind not in seen:
            seen.add(kind)
            todo += kind.__subclasses__()
            if hasattr(kind, "_add_argparse_args"):
                kind._add_argparse_args(parser)
    for name in FLINK_OPTIONS:
        parser.add_argument(f"--{name}")
    return parser


def read_options(kind: type[Kind], args: argparse.Namespace, **others: Any) -> Kind:
    """Return the options of a job: each field of a dataclass is the parsed option of its name, but for `others`."""
    names = {field.name for field in dataclasses.fields(cast(Any, kind))} - others.keys()
    return kind(**{name: getattr(args, name) for name in names}, **others)


def whole(least: int, most: int, name: str = "whole number") -> Callable[[str], int]:
    """Return a parser of whole numbers from `least` to `most`; messages, and Dataflow's templates, call it `name`."""

    at_least = fitting(int, f"at least {least}", lambda number: number >= least, name)
    return fitting(at_least, f"at most {most:,}", lambda number: number <= most, name)


def fitting(kind: Callable[[str], Number], words: str, fits: Callable[[Number], bool], name: str = "number") -> Any:
    """Return a parser of the numbers of a kind that fit; `words` say which these are, `name` is as of `whole`."""

    def parse(text: str) -> Number:
        number = kind(text)
        if not fits(number):
            raise argparse.ArgumentTypeError(f"must be {words}, not {text}")
        return number

    parse.__name__ = name
    return parse


positive, natural = whole(1, 2**40, "positive"), whole(0, 2**63 - 1, "natural")
line_bytes = whole(1, 1 << 30, "line_bytes")  # of which several are held at once
year = fitting(int, "a year from 1900 to 2199", lambda number: 1900 <= number <= 2199, "year")
ratio = fitting(float, "from 0 to 1", lambda number: 0 <= number <= 1, "ratio")


def place(text: str) -> str:
    """Parse a path, which an unset variable of the shell would make empty.

    s3:/bucket with one slash would be a folder here that nobody means.
    """
    if not text:
        raise argparse.ArgumentTypeError("must not be empty; is a variable unset?")
    if text.split("/")[0] == "~":
        raise argparse.ArgumentTypeError(f"the shell did not expand the ~ of {text}; write the home folder in full")
    if found := re.match(r"(gs|s3|hdfs):/(?!/)", text):
        raise argparse.ArgumentTypeError(f"{text} lacks a slash; write {found[1]}://{text[found.end() :]}")
    return text


def pair(text: str, form: str) -> tuple[str, str]:
    """Parse NAME=VALUE, which a message calls as `form` says: NAME=DIR, say."""
    name, _, value = text.partition("=")
    if not (name and value):
        raise argparse.ArgumentTypeError(f"must be {form}, not {text!r}")
    return name, value


def sha256_digits(text: str) -> str:
    """Parse the digits of a sha256."""
    if not re.fullmatch("[0-9a-f]{64}", text.lower()):
        raise argparse.ArgumentTypeError(f"must have the 64 digits of a sha256, not {text!r}")
    return text.lower()


def format_rejects(counters: Mapping[str, int]) -> str:
    """Return how many records were rejected, and why.

    >>> format_rejects({"rejects": 3, "rejects.empty_line": 1, "rejects.null_value": 2})
    '3 (1 empty_line, 2 null_value)'
    """
    reasons = sorted((name.removeprefix("rejects."), n) for name, n in counters.items() if name.startswith("rejects."))
    why = ", ".join(f"{n:,} {reason}" for reason, n in reasons)
    return f"{counters.get('rejects', 0):,}" + (f" ({why})" if why else "")


def kept_column(text: str) -> tuple[str, str]:
    """Parse a column and its name in the output.

    >>> kept_column("id=item_id"), kept_column("price")
    (('id', 'item_id'), ('price', 'price'))
    """
    column, mark, name = text.rpartition("=")
    if not name or (mark and not column):
        raise argparse.ArgumentTypeError(f"must be COL or COL=NAME, not {text!r}")
    return (column, name) if mark else (name, name)


def check_kept(schema: "pa.Schema", kept: Sequence["pa.Field"]) -> None:
    """Raise OptionError where a carried column, one of the last of a schema, has the name of another one of it."""
    own = {name.lower(): name for name in schema.names[: len(schema) - len(kept)]}
    for name in (one.name for one in kept if one.name.lower() in own):
        raise OptionError(
            f"--keep {name}: the output already has a column {own[name.lower()]!r}; rename yours: "
            f"--keep {name}=input_{name}"
        )


def text_format(
    args: argparse.Namespace,
    columns: Mapping[str, str],
    optional: Sequence[str] = (),
    keep: Sequence[tuple[str, str]] = (),
) -> "TextFormat":
    """Return the format of the input that the options of `add_text_options` describe, `keep` as those of `add_keep`."""
    from molino.transforms.text.sources import KEPT, NO_COLUMN, TextFormat

    named: dict[str, list[str]] = {name: getattr(args, f"{name}_column") or [columns[name]] for name in columns}
    for name in columns:
        if "" in named[name] and not (name in optional and named[name] == [""]):
            raise OptionError(f"--{name.replace('_', '-')}-column '': this column is needed; name it")
    kept = {KEPT + name: column for column, name in keep}
    if len(kept) < len(keep):
        raise OptionError("--keep gives two columns the same name; rename one: --keep COL=NAME")
    return TextFormat(
        columns={name: names[0] or NO_COLUMN + name for name, names in named.items()} | kept,
        others={name: tuple(names[1:]) for name, names in named.items() if names[1:]},
        escape=args.escape or "",
        members=tuple(args.members),
        names=tuple(args.header),
        optional=tuple(name for name in optional if getattr(args, f"{name}_column") in (None, [""])),
        **{name: getattr(args, name) for name in SAME},
    )


def add_output_options(where: Options, run: Options) -> None:
    """Add what every command takes that writes a run: where to, and what a person reads of it."""
    where.option("--output", "DIR", place, "folder of the run; made when it is not there", required=True)
    where.switch("--overwrite", "replace a finished run; it stays readable until then")
    about = "earlier runs whose data files stay for their readers (default 1; 0 frees the disk at once)"
    where.option("--keep-previous", "N", natural, about, 1)
    run.switch("--quiet", "no progress; the summary and errors stay")
    run.switch("--strict", "end with exit code 1 and publish nothing on any warning")
