"""Look at a model that turns titles into vectors, or grow one from the titles themselves. A model is the folder of a
SavedModel, an archive of one (.tar.gz, .tgz, .tar, .zip), or a TF Hub URL.

examples:
  molino sample titles --output demo/titles.csv --rows 20000
  molino model train --input demo/titles.csv --output demo/model
  molino model inspect demo/model
  molino model inspect models/nnlm-es-dim128-with-normalization.tar.gz
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from molino.jobs.job import load_trainings
from molino.jobs.options import Parser

ABOUT = "look at a language model, or grow one from titles"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    from molino import quiet
    from molino.jobs.runners import exits

    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["train"]:
        return load_trainings()["model train"].main(words[1:])
    parser = Parser(prog="molino model", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    about = "say what a model is, how it splits titles, and how they will be embedded"
    inspect = actions.add_parser("inspect", help=about, description=about)
    inspect.examples = ["molino model inspect demo/model"]
    inspect.add_argument(
        "location",
        metavar="PATH_OR_URL",
        help="folder, archive or TF Hub URL; with #OUTPUT or #SIGNATURE/OUTPUT where it has several",
    )
    inspect.add_argument("--model-sha256", metavar="HEX", help="fail when the model has another digest")
    inspect.add_argument(
        "--trust-model", action="store_true", help="take a model whose operations can touch files or the network"
    )
    train = load_trainings()["model train"].about
    actions.add_parser("train", help=train, description=train)
    args = parser.parse_args(words)
    quiet.silence_beam()

    def work() -> Any:
        from molino.transforms.models.embed import plan_models

        pinned = args.model_sha256 and {args.location: args.model_sha256}
        [model] = plan_models({args.location: args.location}, sha256=pinned, trust=args.trust_model)
        return model

    with exits.signals_as_exits() as received:
        code, model = exits.attempt(parser, work, received)
    for name, text in describe_model(model) if model else ():
        print(f"{name:>12}  {text}")
    return code


def describe_model(model: Any) -> Iterator[tuple[str, str]]:
    """Yield what is known of a model, a `molino.transforms.models.embed.Model`: names and texts for the user."""
    yield "model", model.location
    yield "size", f"{model.bytes / 1e6:,.1f} MB"
    yield "dimensions", f"{model.dim:,}"
    if model.kind == "table":
        yield "vocabulary", f"{model.vocabulary:,} tokens"
        yield "buckets", f"{model.buckets:,} for other tokens"
        yield "punctuation", "removed" if model.strip_punctuation else "kept"
        yield "empty tokens", "kept" if model.keep_empty else "dropped"
        yield "path", "fast: compiled, the vectors are the model's own" + ("" if model.exact else " but for rounding")
    else:
        yield "path", f"generic, by TensorFlow: {model.reason}"
    if model.suspects:
        yield "trusted", f"its graph can do more than compute: {', '.join(model.suspects)}"
    yield "sha256", model.digest
