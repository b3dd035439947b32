"""Train a classifier on what the titles job wrote, or compare language models by the classifiers trained on their
vectors.

examples:
  molino sample titles --output demo/titles.csv --rows 20000
  molino titles --input demo/titles.csv --output demo/titles
  molino train titles --input demo/titles --architecture phrases --output demo/classifier
  molino train compare --help
"""

import sys
from collections.abc import Sequence

from molino.jobs.job import load_trainings
from molino.jobs.options import DONE, Parser

ABOUT = "train classifiers on titles, and compare language models"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    trainings = {name.split()[1]: job for name, job in load_trainings().items() if name.startswith("train ")}
    if words and words[0] in trainings:
        return trainings[words[0]].main(words[1:])
    parser = Parser(prog="molino train", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, job in trainings.items():
        actions.add_parser(action, help=job.about, description=job.about)
    parser.parse_args(words)
    return DONE
