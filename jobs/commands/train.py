"""Train classifiers on the titles of a run, and compare language models by them."""

import importlib
import sys
from collections.abc import Sequence

from molino.jobs.options import DONE, Parser

DESCRIPTION = """
Train a classifier on what the titles job wrote, or compare language models by the classifiers trained on their vectors.
"""
EPILOG = """
examples:
  molino train titles --help
  molino train compare --help
"""
ACTIONS = {
    "titles": "train a classifier on a run of the titles job",
    "compare": "compare language models by the classifiers on their vectors",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in ACTIONS:
        return importlib.import_module(f"molino.jobs.train.{words[0]}").main(words[1:])
    parser = Parser(prog="molino train", description=DESCRIPTION, epilog=EPILOG)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, about in ACTIONS.items():
        actions.add_parser(action, help=about, description=about)
    parser.parse_args(words)
    return DONE
