"""The report of the titles job: what the titles are, how they are split, and what the models know of them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molino.schemas.titles import COUNTERS, REASONS
from molino.transforms.models.embed import Coverage, Model
from molino.transforms.parquet.shards import StagedFile, write_view
from molino.transforms.report.charts import Series, histogram, line_plot, rank_series, scatter_plot
from molino.transforms.report.page import Cell, Plot, Section, Table, Term, clip
from molino.transforms.report.run import JobTerms, RunFacts, run_page, share
from molino.transforms.titles.glance import LONGEST, Glance, combine_glances
from molino.transforms.titles.keys import SPLITS
from molino.transforms.titles.labels import Labels
from molino.transforms.warnings import many

TOP = 20
TOP_LANGUAGES = 12
COLORED = 5  # categories with a colour of their own on the map
TERMS = JobTerms(
    counters=COUNTERS,
    reasons=REASONS,
    outputs="titles",
    flags={"models": "", "model_text": "--write-model-text", "tokens": "--write-tokens"},
)
SUMMARY = {
    "titles": "titles",
    "rows read": "rows_read",
    "duplicate rows": "duplicates",
    "titles in conflict": "conflicting_titles",
    "rejected rows": "rejects",
}


def project(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the first two principal components of vectors, (n, 2), and their shares of the variance, (2,).

    The sign of a component is that which makes its largest weight positive: the same vectors give the same map.
    """
    centered = vectors - vectors.mean(axis=0)
    _, values, axes = np.linalg.svd(centered, full_matrices=False)
    axes = axes[:2] * np.sign(axes[np.arange(len(axes[:2])), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    total = (values**2).sum()
    shares = values[:2] ** 2 / total if total else np.zeros(len(axes))
    points = np.zeros((len(vectors), 2))
    points[:, : len(axes)] = centered @ axes.T
    return points, np.append(shares, np.zeros(2 - len(shares)))


def write_titles_report(
    glances: list[Glance], counters: Mapping[str, int], run: Any, *, labels: Labels, models: Sequence[Model]
) -> Iterator[StagedFile]:
    """Stage the report; nothing but the data and the options goes into it."""
    report = titles_report(combine_glances(glances), labels.table, models, RunFacts.of(run, counters, TERMS))
    yield write_view(report.encode(), folder=run.staging, name="report.html")


def titles_report(glance: Glance, labels: pa.Table, models: Sequence[Model], facts: RunFacts) -> str:
    """Return the report of a run as one HTML page; its bytes depend on the arguments only."""
    sections = [_splits(glance, labels), _labels(labels), _lengths(glance)]
    if models:
        text = (
            "The first two principal components of the vectors of a random sample. Titles of one category that stand "
            "together are what a classifier lives on; two components show only a part of it."
        )
        plots = [_map_plot(glance.sample, model.name) for model in models]
        sections += [_models(glance, models), Section("Map of the vectors", text, plots)]
    trained = int((labels["label"].to_numpy() >= 0).sum())
    summary = [*facts.figures(SUMMARY), ("labels", f"{trained:,}"), ("models", f"{len(models):,}")]
    summary += [("numbers a title", f"{sum(model.dim for model in models):,}")] if models else []
    subtitle = f"Product titles with their {'vectors, ' if models else ''}labels and splits, ready for training."
    return run_page("Titles", facts, subtitle=subtitle, summary=summary, sections=sections)


def _splits(glance: Glance, labels: pa.Table) -> Section:
    totals = {split: pc.sum(labels[split]).as_py() or 0 for split in SPLITS}
    text = (
        "A title's split follows from its words, without case, accents, punctuation and order: titles that are nearly "
        "the same stand on one side. Shares are of all titles."
    )
    tables = [_group_table(glance, "language", "Language"), _group_table(glance, "label_quality", "Label quality")]
    rows: list[dict[str, Cell]] = [
        {"Split": split, "Titles": titles, "Share": share(titles, sum(totals.values()))}
        for split, titles in totals.items()
    ]
    return Section("Splits", text, [Table(rows, "All titles", shares=["Share"], bar="Share"), *tables])


def _group_table(glance: Glance, what: str, caption: str) -> Table:
    found: dict[str | None, dict[str, int]] = {}
    for (kind, value, split), titles in glance.groups.items():
        if kind == what:
            found.setdefault(value, {})[split] = titles
    total = sum(sum(splits.values()) for splits in found.values())
    order = sorted(found, key=lambda value: (-sum(found[value].values()), value is None, value or ""))
    shown: list[tuple[Cell, list[str | None]]] = [
        (Term("none", "The input does not say.") if value is None else value, [value])
        for value in order[:TOP_LANGUAGES]
    ]
    if rest := order[TOP_LANGUAGES:]:
        shown.append((f"{len(rest):,} others", rest))
    rows: list[dict[str, Cell]] = []
    for name, values in shown:
        sums = {split.capitalize(): sum(found[value].get(split, 0) for value in values) for split in SPLITS}
        titles = sum(sums.values())
        rows.append({caption: name, **sums, "All": titles, "Share": share(titles, total)})
    return Table(rows, f"Titles by {caption.lower()}", shares=["Share"], bar="Share", wide=True)


def _labels(labels: pa.Table) -> Section:
    trained = labels.filter(pc.greater_equal(labels["label"], 0))
    unseen = labels.filter(pc.and_(pc.less(labels["label"], 0), pc.is_valid(labels["category"])))
    text = f"{many(len(trained), 'category')} by their titles in training, which give them their numbers."
    if len(unseen):
        text += f" {len(unseen):,} more have titles in validation or test only: their label is -1."
    series = [rank_series(split, trained[split].to_numpy()) for split in SPLITS]
    ends = [f"{s.label}: {s.y[0]:,} titles at rank 1, {s.y[-1]:,} at rank {s.x[-1]:,}" for s in series if s.x]
    picture = line_plot(
        series,
        x_label="Rank of the category",
        y_label="Titles",
        log=True,
        caption="Categories from the largest down, both scales logarithmic.",
        alt=f"Falling lines of titles against the rank of their category. {'; '.join(ends) or 'No data'}.",
    )
    total = pc.sum(trained["train"]).as_py() or 0
    part = "Share of training"
    rows = [
        {name.capitalize(): row[name] for name in ("label", "category", *SPLITS)} | {part: share(row["train"], total)}
        for row in trained.slice(0, TOP).to_pylist()
    ]
    table = Table(rows, "The largest categories", shares=[part], bar=part, wide=True)
    return Section("Labels", text, [picture, table])


def _lengths(glance: Glance) -> Section:
    counts = glance.lengths
    total, places = int(counts.sum()), np.arange(len(counts))
    middle = int(np.searchsorted(np.cumsum(counts), total / 2)) if total else 0
    mean = float((counts * places).sum() / total) if total else 0.0
    text = (
        f"In characters, spaces included; {LONGEST:,} stands for longer ones too. Median {middle:,}, mean {mean:,.1f}."
    )
    alt = f"Bars of titles by their characters; the median is {middle}."
    labels: Any = {"x_label": "Characters", "y_label": "Titles", "caption": "Titles by length."}
    return Section("Lengths", text, [histogram(places, counts, **labels, alt=alt)])


def _models(glance: Glance, models: Sequence[Model]) -> Section:
    looked = max((known.titles for known in glance.known.values()), default=0)
    text = (
        "The vectors of a token that is not in a model's vocabulary are shared with all that fall into its bucket. "
        f"Counted in the first {many(looked, 'title')} of the output, which are a random sample."
    )
    rows: list[dict[str, Cell]] = []
    unknown = "Not in the vocabulary"
    for model in models:
        known = glance.known.get(model.name)
        row: dict[str, Cell] = {"Model": Term(model.name, f"sha256 {model.digest[:16]}…")}
        row |= {"Embedded by": "compiled table" if model.kind == "table" else "TensorFlow", "Dimensions": model.dim}
        row |= dict.fromkeys(("Vocabulary", "Buckets", "Tokens", unknown))
        if known:
            row |= {"Vocabulary": model.vocabulary, "Buckets": model.buckets, "Tokens": known.tokens}
            row[unknown] = share(known.unknown, known.tokens)
        rows.append(row)
    tables = [Table(rows, "Models", shares=[unknown], bar=unknown, wide=True)]
    shown: list[Mapping[str, int]] = []
    for model in models:
        known = glance.known.get(model.name)
        if known and known.unknown and known.words not in shown:
            same = [m.name for m in models if m.name in glance.known and glance.known[m.name].words == known.words]
            shown.append(known.words)
            tables.append(_word_table(known, ", ".join(same)))
    return Section("What the models know", text, tables)


def _word_table(known: Coverage, names: str) -> Table:
    order = sorted(known.words.items(), key=lambda item: (-item[1], item[0]))[:TOP]
    part = "Share of the unknown"
    rows: list[dict[str, Cell]] = [
        {"Token": word or Term("", "the empty token"), "Times": n, part: share(n, known.unknown)} for word, n in order
    ]
    return Table(rows, f"Commonest unknown tokens: {names}", shares=[part], bar=part)


def _map_plot(sample: pa.Table, name: str) -> Plot:
    if len(sample):
        vectors = sample[name].combine_chunks().flatten().to_numpy().reshape(len(sample), -1).astype(np.float64)
        finite = np.isfinite(vectors).all(axis=1)
        sample, vectors = sample.filter(pa.array(finite)), vectors[finite]
    if len(sample) < 3:
        return Plot("", f"{name}: too few titles.", "No map: there are too few titles.")
    points, shares = project(vectors)
    categories = sample["category"].to_pylist()
    common = sorted(Counter(c for c in categories if c is not None).items(), key=lambda item: (-item[1], item[0]))
    series = []
    for category in [*(c for c, _ in common[:COLORED]), None]:
        chosen = [c == category if category else c not in dict(common[:COLORED]) for c in categories]
        label = clip(category, 22) if category else "others"
        series.append(Series(label=label, x=points[chosen, 0].tolist(), y=points[chosen, 1].tolist()))
    return scatter_plot(
        series,
        x_label=f"First component, {shares[0]:.1%} of the variance",
        y_label=f"Second, {shares[1]:.1%}",
        caption=f"{name}: {many(len(sample), 'title')}.",
        alt=f"Points of {len(sample):,} titles on the first two principal components of {name}, coloured by category.",
    )
