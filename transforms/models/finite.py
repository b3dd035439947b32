"""Numbers of a model that are not finite (NaN, infinite): found, rejected, set to zero or kept, and told of."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.transforms.models.embed import Model, embed_many, open_embedder
from molino.transforms.warnings import DataWarning, example_of

REASON = "not_finite"  # of a reject
COUNTER = "not_finite."  # and the model's name


def are_finite(titles: pa.Array, models: Sequence[Model]) -> np.ndarray:
    """Return whether the vectors of each title are finite by all models, (n,) bool. Equal titles are embedded once."""
    coded = pc.dictionary_encode(titles)
    good = np.ones(len(coded.dictionary), bool)
    for vectors in embed_many([open_embedder(model) for model in models], coded.dictionary):
        good &= np.isfinite(vectors).all(axis=1)
    return good[coded.indices.to_numpy()]


def warn_not_finite(counters: Mapping[str, int], way: str) -> list[DataWarning]:
    """Return the warnings of a run that met such numbers; `way` is what it did with them."""
    warnings = []
    if count := counters.get(f"rejects.{REASON}", 0):
        text = f"rows rejected because a number of their vector or score is not finite (NaN or infinite): {count:,}"
        remedy = f"each is in rejects/, with the reason {REASON}; --not-finite zero or keep takes them"
        warnings.append(DataWarning("not_finite.rejected", text, int(count), remedy=remedy))
    for name in sorted(counters):
        if name.startswith(COUNTER) and (count := counters[name]):
            what = "set to zero" if way == "zero" else "kept; training and pca refuse them"
            text = f"rows of which {name.removeprefix(COUNTER)} gives numbers that are not finite: {count:,}, {what}"
            remedy = "--not-finite reject leaves such rows out"
            warnings.append(DataWarning(f"not_finite.{way}", text, int(count), example_of(counters, name), remedy))
    return warnings
