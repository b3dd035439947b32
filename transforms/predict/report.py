"""The report of predictions: which categories, how sure the classifier is, and the titles of which it is least sure."""

import dataclasses
import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from molino.schemas.predict import COUNTERS, REASONS
from molino.transforms.parquet.shards import StagedFile, write_view
from molino.transforms.report.charts import bar_plot
from molino.transforms.report.page import Cell, Section, Table
from molino.transforms.report.run import JobTerms, RunFacts, run_page, share

TOP = 20  # categories, and titles, that are shown
BINS = 20  # of the scores, from 0 to 1
TERMS = JobTerms(counters=COUNTERS, reasons=REASONS, outputs="predictions")
SUMMARY = {"rows read": "rows_read", "predictions": "predictions", "rejected rows": "rejects"}
Doubt = tuple[float, str, int, str, str, str]  # score, file, line, title, and the two likeliest categories


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tally:
    """What the report shows of some predictions, or of all."""

    categories: Counter[str] = dataclasses.field(default_factory=Counter)  # titles by the likeliest category
    scores: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(BINS, np.int64))  # titles by its score
    doubts: Sequence[Doubt] = ()  # TOP titles of the lowest scores, from the lowest


def tally_predictions(rows: pa.RecordBatch) -> Tally:
    """Return what the report shows of predictions, of PREDICTED; scores that are not finite are left out."""
    named = rows["prediction"].value_counts().to_pylist()
    offsets = rows["top_scores"].offsets.to_numpy()
    firsts = rows["top_scores"].values.to_numpy()[offsets[:-1]]
    places = np.flatnonzero(np.isfinite(firsts))
    parts = firsts[places].astype(np.float64) * BINS  # in float32 some would be rounded into the next bin
    bins = np.bincount(parts.astype(np.int64).clip(0, BINS - 1), minlength=BINS)
    cut = np.partition(firsts[places], TOP - 1)[TOP - 1] if len(places) > TOP else np.float32(np.inf)
    few = rows.take(pa.array(places[firsts[places] <= cut]))
    doubts = [
        (row["top_scores"][0], row["source"], row["line"], row["title"], *(*row["top_categories"], "")[:2])
        for row in few.to_pylist()
    ]
    counts = Counter({one["values"]: one["counts"] for one in named})
    return Tally(categories=counts, scores=bins, doubts=heapq.nsmallest(TOP, doubts))


def sum_tallies(tallies: Sequence[Tally]) -> Tally:
    """Return what all show together, in whatever order they come."""
    categories: Counter[str] = Counter()
    for tally in tallies:
        categories.update(tally.categories)
    return Tally(
        categories=categories,
        scores=sum((tally.scores for tally in tallies), np.zeros(BINS, np.int64)),
        doubts=heapq.nsmallest(TOP, (doubt for tally in tallies for doubt in tally.doubts)),
    )


def write_predict_report(tallies: list[Tally], counters: Mapping[str, int], run: Any) -> Iterator[StagedFile]:
    """Stage the report; nothing but the data and the options goes into it."""
    report = predict_report(sum_tallies(tallies), RunFacts.of(run, counters, TERMS))
    yield write_view(report.encode(), folder=run.staging, name="report.html")


def predict_report(tally: Tally, facts: RunFacts) -> str:
    """Return the report of a run as one HTML page; its bytes depend on the arguments only."""
    total = tally.categories.total()
    order = sorted(tally.categories.items(), key=lambda item: (-item[1], item[0]))
    rows: list[dict[str, Cell]] = [
        {"Category": name, "Titles": titles, "Share": share(titles, total)} for name, titles in order[:TOP]
    ]
    if rest := order[TOP:]:
        left = sum(titles for _, titles in rest)
        rows.append({"Category": f"{len(rest):,} others", "Titles": left, "Share": share(left, total)})
    half = int(tally.scores[: BINS // 2].sum())
    names = [f"{number / BINS:g}" for number in range(BINS)]
    picture = bar_plot(
        names,
        {"Titles": tally.scores.tolist()},
        x_label="Score of the likeliest category, from",
        y_label="Titles",
        caption="How sure the classifier is of its first category.",
        alt=f"Bars of titles by the score of their first category; {half:,} have less than one half.",
    )
    columns = ("Score", "Title", "Prediction", "Second", "Place")
    doubts: list[dict[str, Cell]] = [
        dict(zip(columns, (score, title, first, second, f"{source}, line {line:,}"), strict=True))
        for score, source, line, title, first, second in tally.doubts
    ]
    table = Table(rows, "Categories", shares=["Share"], bar="Share")
    sections = [
        Section("Predictions", "The likeliest category of every title.", [table]),
        Section(
            "Scores",
            "A score is how likely the first category is held to be by a classifier that takes all categories for "
            "equally frequent. Look at the titles of the lowest: they may be of no category that the classifier knows.",
            [picture, Table(doubts, "The lowest scores", floats=".3f", wide=True)],
        ),
    ]
    summary = [*facts.figures(SUMMARY), ("categories", f"{len(order):,}"), ("scores below one half", f"{half:,}")]
    subtitle = "The likeliest categories of titles, by a classifier."
    return run_page("Predictions", facts, subtitle=subtitle, summary=summary, sections=sections)
