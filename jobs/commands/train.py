"""Train classifiers on the titles of a run, and compare language models by them."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from molino.jobs.options import DONE, TRAINING_CODES, Parser

DESCRIPTION = """
Train a classifier on what the titles job wrote, or compare language models by the classifiers trained on their vectors.
"""
EPILOG = """
examples:
  molino train titles --help
  molino train compare --help
"""
# the report of each, and what it does
ACTIONS = {
    "titles": ("training", "train a classifier on a run of the titles job"),
    "compare": ("compare", "compare language models by the classifiers on their vectors"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in ACTIONS:
        module = importlib.import_module(f"molino.training.{words[0]}")
        return module.main(words[1:], page=_page(ACTIONS[words[0]][0]))
    parser = Parser(prog="molino train", description=DESCRIPTION, epilog=EPILOG, exit_codes=TRAINING_CODES)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, (_, about) in ACTIONS.items():
        actions.add_parser(action, help=about, description=about)
    parser.parse_args(words)
    return DONE


def _page(report: str) -> Callable[[Mapping[str, Any]], str]:
    """Return what makes a report; training knows nothing of pages, and a help text must not wait for them."""

    def page(found: Mapping[str, Any]) -> str:
        return getattr(importlib.import_module(f"molino.transforms.report.{report}"), f"{report}_report")(found)

    return page
