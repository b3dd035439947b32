"""What the report shows of the titles, gathered while they are written, and the report itself."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.batches import Gather, sum_counters
from transforms.embed import Model, embed_many, open_embedder
from transforms.label_vocabulary import Labels
from transforms.parquet import StagedFile, write_view
from transforms.report_titles import LONGEST, Glance, Known, add_up, titles_report
from transforms.title_keys import SPLITS

KNOWN_TITLES = 50_000  # of which tokens are looked up
MAP_TITLES = 2_000


def glance_at(kept: pa.RecordBatch, turns: np.ndarray, *, models: Sequence[Model], titles: int) -> Glance:
    """Return what the report shows of a block.

    Which titles are looked at closely follows from their turn alone, so that any blocks and shards show the same.

    Args:
      kept: merged titles.
      turns: theirs, ascending.
      titles: in all blocks.
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
    known = {}
    for model in models:
        if model.kind == "table":
            found = open_embedder(model).coverage(close)
            words = dict(zip(found.counts["token"].to_pylist(), found.counts["count"].to_pylist(), strict=True))
            known[model.name] = Known(titles=len(close), tokens=found.tokens, unknown=found.unknown, words=words)
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


def write_report(
    glances: list[Glance],
    labels: Labels,
    counters: list[Mapping[str, int]],
    run: Any,
    models: Sequence[Model],
) -> StagedFile:
    """Stage the report; nothing but the data and the options goes into it."""
    report = titles_report(
        add_up(glances),
        labels.table,
        models=[dataclasses.asdict(model) for model in models],
        counters=sum_counters(counters),
        options=run.options,
        inputs=run.inputs,
        warnings=run.warnings,
        expected=run.expected,
    )
    return write_view(report.encode(), folder=run.staging, name="report.html")


@dataclasses.dataclass(kw_only=True)
class WriteReport(beam.PTransform):
    """Stage the report. Input: all Glances of the run. Output: one StagedFile.

    Attributes:
      run: gives staging folder, options and inputs.
      models: that the titles are embedded with.
      labels: one Labels.
      counters: of the whole run.
    """

    run: Any
    models: Sequence[Model]
    labels: beam.PCollection
    counters: beam.PCollection

    def expand(self, glances: beam.PCollection) -> beam.PCollection:
        arguments = {
            "labels": beam.pvalue.AsSingleton(self.labels),
            "counters": beam.pvalue.AsList(self.counters),
            "run": self.run,
            "models": list(self.models),
        }
        return glances | "Report" >> Gather(into=write_report, arguments=arguments)
