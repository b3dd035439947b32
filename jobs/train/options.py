"""Options of trainings: where from and where to, how a classifier is trained, and whether they go together."""

import argparse
from collections.abc import Callable

from molino.jobs.options import EMBEDDED, Parser, add_output_options, natural, place, positive
from molino.training.recipe import PHRASES, VECTORS
from molino.transforms.errors import OptionError

ONLY_PHRASES = ("dim", "members", "min_count", "leave_out")


def number(least: int, most: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `least`, which is 1 or 0, to `most`."""

    def parse(text: str) -> int:
        found = positive(text, most) if least else natural(text)
        if found > most:
            raise argparse.ArgumentTypeError(f"must be at most {most:,}, not {text}")
        return found

    parse.__name__ = "whole number"  # what argparse calls it
    return parse


def fraction(*, zero: bool) -> Callable[[str], float]:
    """Return a parser of numbers below 1 and above 0, or from it."""

    def parse(text: str) -> float:
        found = float(text)
        if not (0 <= found < 1 if zero else 0 < found < 1):
            wanted = "from 0 to less than 1" if zero else "above 0 and below 1"
            raise argparse.ArgumentTypeError(f"must be {wanted}, not {text}")
        return found

    parse.__name__ = "number"
    return parse


count, size, above_zero, below_one = number(1, 2**31 - 1), number(1, 1 << 16), fraction(zero=False), fraction(zero=True)


def add_where(parser: Parser, inputs: str, *, required: bool = True) -> argparse._ArgumentGroup:
    """Add where a training reads and writes; it runs in the command's own process. Return the group."""
    where = parser.add_argument_group("where")
    where.add_argument("--input", type=place, nargs=1, required=required, default=[], metavar="PATH", help=inputs)
    add_output_options(where, parser.add_argument_group("how to run (never changes the result)"))
    parser.set_defaults(runner=EMBEDDED, workers=1, worker_mode="threads", shuffle="runner", max_reject_ratio=0.0)
    return where


def add_recipe(parser: Parser, *, several: str = "joined") -> None:
    """Add how a classifier is trained; `several` is what becomes of several embeddings."""
    model = parser.add_argument_group("the classifier")
    about = f"column of vectors; may be repeated (default: all, {several})"
    model.add_argument("--embedding", action="append", metavar="NAME", help=about)
    model.add_argument(
        "--architecture", choices=(*VECTORS, PHRASES), default="mlp-512", help="default mlp-512; phrases takes titles"
    )
    model.add_argument(
        "--balance",
        choices=("loss", "logits", "none"),
        default="loss",
        help="correct the categories' shares while training, after it, or not (default loss)",
    )
    model.add_argument("--dim", type=size, default=128, metavar="N", help="of phrases: numbers of a vector (128)")
    model.add_argument("--members", type=number(1, 64), default=1, metavar="N", help="of phrases: averaged (default 1)")
    model.add_argument("--min-count", type=count, default=2, metavar="N", help="of phrases: times seen at least (2)")
    model.add_argument(
        "--leave-out", type=below_one, default=0.0, metavar="R", help="of phrases: share of the features (default 0)"
    )
    how = parser.add_argument_group("training")
    how.add_argument("--epochs", type=count, metavar="N", help="at most (10; phrases 4)")
    how.add_argument("--patience", type=count, default=3, metavar="N", help="epochs without a better (default 3)")
    how.add_argument("--batch", type=count, metavar="N", help="titles in a step (4096; phrases 2048)")
    how.add_argument("--rate", type=above_zero, metavar="R", help="of learning, at the start (0.001; phrases 0.005)")
    how.add_argument(
        "--schedule", choices=("linear", "cosine", "constant"), default="linear", help="of the rate (default linear)"
    )
    how.add_argument(
        "--precision", choices=("float32", "bfloat16", "float16"), default="float32", help="to compute in (float32)"
    )
    add_seed(how)


def add_seed(group: argparse._ArgumentGroup) -> None:
    """Add the seed."""
    seed = number(0, 2**31 - 1)
    group.add_argument("--seed", type=seed, default=0, metavar="N", help="of all random numbers (default 0)")


def check_recipe(args: argparse.Namespace) -> None:
    """Raise OptionError where an option is given that the architecture does not know."""
    phrases = args.architecture == PHRASES
    flags = [f"--{name.replace('_', '-')}" for name in ONLY_PHRASES]
    strange = [flag for flag in flags if args.command.names(flag)]
    if strange and not phrases:
        raise OptionError(f"{strange[0]} is an option of --architecture {PHRASES}, not of {args.architecture}")
    if phrases and args.embedding:
        raise OptionError(f"--architecture {PHRASES} takes titles, no --embedding")
    if phrases and (args.balance == "logits" or args.precision != "float32"):
        raise OptionError(f"--architecture {PHRASES} takes --balance loss or none, and --precision float32")
    if args.architecture == "linear" and args.precision != "float32":
        raise OptionError("--precision is of hidden layers, of which --architecture linear has none")
