"""How a classifier is trained, as the options say."""

import dataclasses
from collections.abc import Mapping
from typing import Any

PHRASES = "phrases"
VECTORS = ("linear", "mlp-512", "mlp-2048")
STEPS = 100  # of an epoch of few titles
DEFAULTS = {"batch": 4096, "rate": 0.001, "epochs": 10}
OF_PHRASES = {"batch": 2048, "rate": 0.005, "epochs": 4}
RATES = {"linear": 50_000, "mlp-512": 17_000, "mlp-2048": 3_000, PHRASES: 10_000}  # titles a second on two cores


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a classifier is trained.

    `balance`: "loss": the logarithm of each category's share is added to its logit while training; "logits": it is
    taken away when training is over; "none". `dim`, `members`, `leave_out`, `min_count`: of "phrases": see
    training.phrases.
    """

    architecture: str  # see ARCHITECTURES, or "phrases"
    epochs: int
    batch: int
    rate: float  # of learning, at the start
    seed: int
    schedule: str = "linear"  # how it falls: "linear" or "cosine" to 0, or "constant"
    patience: int = 3  # epochs without a better balanced accuracy on the validation split, after which it ends
    balance: str = "loss"
    precision: str = "float32"  # float32, or what layers compute in
    dim: int = 128
    members: int = 1
    leave_out: float = 0.0
    min_count: int = 2

    def make_schedule(self, steps: int) -> Any:
        """Return the rate of learning by the number of the step, of which an epoch has `steps`."""
        import keras

        total = max(1, self.epochs * steps)
        if self.schedule == "cosine":
            return keras.optimizers.schedules.CosineDecay(self.rate, total)
        end = self.rate if self.schedule == "constant" else 0.0
        return keras.optimizers.schedules.PolynomialDecay(self.rate, total, end)


def make_recipe(options: Mapping[str, Any], titles: int) -> Recipe:
    """Return how a classifier is trained, as options say by their names; of few titles a batch has fewer."""
    defaults = OF_PHRASES if options["architecture"] == PHRASES else DEFAULTS
    values = {name: value for name, value in options.items() if name in Recipe.__dataclass_fields__}
    values |= {name: values[name] or default for name, default in defaults.items()}
    values["batch"] = options["batch"] or min(values["batch"], max(1, titles // STEPS))
    return Recipe(**values)
