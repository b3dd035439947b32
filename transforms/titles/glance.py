"""What the report shows of a shard's titles, taken by the worker that writes them."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.transforms.models.embed import Coverage, Model, embed_many, open_embedder
from molino.transforms.titles.keys import SPLITS

LONGEST = 1000  # characters: longer titles are counted as of so many


@dataclasses.dataclass(frozen=True, kw_only=True)
class Glance:
    """What the report shows of the titles of a shard, or of all."""

    groups: Mapping[tuple[str, str | None, str], int]  # titles by language or label_quality, its value, and split
    lengths: np.ndarray  # titles by number of characters, (LONGEST + 1,) int64; the last has those that are longer
    known: Mapping[str, Coverage]  # by the name of each model that has a vocabulary
    sample: pa.Table  # `turn` (uint64), `category`, and the vectors of each model (lists of float32) of a few titles


def combine_glances(glances: Sequence[Glance]) -> Glance:
    """Return what all show together; the sample in the order of turns."""
    groups: Counter[tuple[str, str | None, str]] = Counter()
    known: dict[str, Coverage] = {}
    for glance in glances:
        groups.update(glance.groups)
        for name, one in glance.known.items():
            before = known.get(name, Coverage())
            sums = {of: getattr(before, of) + getattr(one, of) for of in ("titles", "tokens", "unknown")}
            known[name] = Coverage(**sums, words=Counter(before.words) + Counter(one.words))
    samples = [glance.sample for glance in glances if len(glance.sample)]
    return Glance(
        groups=groups,
        lengths=sum((glance.lengths for glance in glances), np.zeros(LONGEST + 1, np.int64)),
        known=known,
        sample=pa.concat_tables(samples).sort_by("turn") if samples else pa.table({}),
    )


KNOWN_TITLES = 50_000  # of which tokens are looked up
MAP_TITLES = 2_000


def glance_at(kept: pa.RecordBatch, turns: np.ndarray, *, models: Sequence[Model], titles: int) -> Glance:
    r"""Return what the report shows of merged titles of a block, in their ascending turns; `titles`: in all blocks.

    Which titles are looked at closely follows from their turn alone, so that any blocks and shards show the same.
    """
    groups: Counter[tuple[str, str | None, str]] = Counter()
    for what in ("language", "label_quality"):
        coded = kept[what]
        values = [*coded.dictionary.to_pylist(), None]
        codes = coded.indices.fill_null(len(values) - 1).to_numpy().astype(np.int64)
        cells = np.bincount(codes * len(SPLITS) + kept["split"].to_numpy())
        for cell in np.flatnonzero(cells).tolist():
            groups[what, values[cell // len(SPLITS)], SPLITS[cell % len(SPLITS)]] += int(cells[cell])
    lengths = np.minimum(pc.utf8_length(kept["title"]).to_numpy(), LONGEST)
    close = kept["title"].slice(0, _first(turns, KNOWN_TITLES / titles))
    known = {model.name: open_embedder(model).coverage(close) for model in models if model.kind == "table"}
    few = kept.slice(0, _first(turns, MAP_TITLES / titles))
    sample = pa.table({"turn": turns[: len(few)], "category": few["category"].dictionary_decode()})
    vectors = embed_many([open_embedder(model) for model in models], few["title"])
    for model, of in zip(models, vectors, strict=True):
        lists = pa.FixedSizeListArray.from_arrays(pa.array(of.reshape(-1)), model.dim)
        sample = sample.append_column(model.name, lists)
    counted = np.bincount(lengths, minlength=LONGEST + 1)
    return Glance(groups=groups, lengths=counted, known=known, sample=sample)


def _first(turns: np.ndarray, share: float) -> int:
    """Return how many of ascending turns lie in the first share of all that there can be."""
    return len(turns) if share >= 1 else int(np.searchsorted(turns, np.uint64(int(share * 2.0**64))))
