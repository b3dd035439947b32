"""The report of the pca job: what the components carry, and what leaving some out costs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from molino.schemas.pca import COUNTERS, REASONS
from molino.transforms.parquet.shards import StagedFile, write_view
from molino.transforms.pca.components import Components
from molino.transforms.pca.cosine_errors import NEIGHBOURS, Sample, cosines, draw_pairs, draw_queries, nearest
from molino.transforms.pca.print_variance import print_components
from molino.transforms.pca.rotate import Findings, stage_components
from molino.transforms.report.charts import Series, histogram, line_plot, scatter_plot
from molino.transforms.report.page import Cell, Plot, Section, Table, Term, clip, format_number
from molino.transforms.report.run import JobTerms, RunFacts, listed, run_page
from molino.transforms.warnings import many

SHOWN_PAIRS = 1500
LONGEST_LABEL = 60
SHOWN_COMPONENTS = 12  # in the table
HISTOGRAMS = 4
ERRORS_SHOWN = {"mean": "Mean", "p50": "Median", "p99": "99 %", "max": "Largest"}
SHOWN_QUERIES, SHOWN_NEIGHBOURS = 6, 3
TERMS = JobTerms(
    counters=COUNTERS,
    reasons=REASONS,
    outputs="components and vectors",
    apart=("numbers", "components", "refined"),
    flags={"label": "--label-column"},
)


def write_findings(
    findings: Findings, counters: Mapping[str, int], run: Any
) -> Iterator[StagedFile | Mapping[str, int]]:
    """Stage components, errors, the summary that R prints and the report, and count the components."""
    components = findings.components
    counted = {"numbers": len(components.singular), "components": findings.kept, "refined": int(findings.refined)}
    counted["_spanned"] = components.spanned
    yield counted
    yield from stage_components(findings, run.staging)
    columns = run.options["column"]
    names = columns if len(columns) == len(components.singular) else []
    summary = print_components(components, findings.kept, names)
    report = pca_report(findings, RunFacts.of(run, {**counters, **counted}, TERMS), names)
    for name, text in (("summary.txt", summary), ("report.html", report)):
        yield write_view(text.encode(), folder=run.staging, name=name)


def pca_report(findings: Findings, facts: RunFacts, names: Sequence[str]) -> str:
    """Return the report of a run as one HTML page, by its arguments alone; `names` as `print_components` takes them."""
    components, sample, stored, kept = findings.components, findings.sample, findings.stored, findings.kept
    errors, seed = findings.errors.to_pylist(), int(facts.options["seed"])
    written = next(row for row in errors if row["written"])
    centered = components.mean is not None
    variance = f"{components.proportions[:kept].sum():.2%}" if components.singular.any() else "there is none"
    return run_page(
        "Principal components",
        facts,
        subtitle=f"The vectors {'of ' if names else ''}{listed(facts.options['column'])}, rotated to their principal "
        "components" + (", about their mean." if centered else "; not centred, so that cosines stay."),
        links=[("summary.txt", "summary.txt")],
        summary=[
            *facts.figures({"vectors": "vectors"}),
            ("numbers before", f"{len(components.singular):,}"),
            ("components kept", f"{kept:,}"),
            ("variance kept", variance),
            ("mean cosine error", format_number(written["cosine_error_mean"], ".2g")),
            ("nearest neighbour kept", format_number(written["recall_1"], ".1%")),
            *facts.figures({"rejected rows": "rejects"}),
        ],
        sections=[
            _variance(components, kept),
            *_loadings(components, kept, names),
            _cosines(sample, stored, errors, seed, centered=centered),
            _histograms(sample, kept, names),
            _neighbours(sample, stored, seed),
            *_against(sample, stored, errors, seed, facts.options.get("against")),
        ],
    )


def _variance(components: Components, kept: int) -> Section:
    proportions = components.proportions
    numbers = list(range(1, len(proportions) + 1))
    total = np.cumsum(proportions)
    most = " about the mean" if components.mean is not None else ", about 0"
    text = f"The variance of the scores{most}, by component. "
    text += "The standard deviations are over the rows less one, as R has them."
    scree = line_plot(
        [
            Series(label="each", x=numbers, y=proportions.tolist()),
            Series(label="the first together", x=numbers, y=total.tolist()),
            Series(label=f"the {kept} kept", x=[kept, kept], y=[0, float(total[kept - 1])]),
        ],
        x_label="Component",
        y_label="Proportion of variance",
        caption="Scree plot.",
        alt=f"A falling line and a rising one: the first component has {proportions[0]:.1%} of the variance, the "
        f"{kept} kept have {total[kept - 1]:.2%}.",
    )
    of = {
        "Component": [f"PC{number}" for number in numbers],
        "Standard deviation": components.deviations.tolist(),
        "Proportion": proportions.tolist(),
        "Cumulative": total.tolist(),
    }
    rows = [dict(zip(of, cells, strict=True)) for cells in zip(*of.values(), strict=True)][:SHOWN_COMPONENTS]
    shares = ["Proportion", "Cumulative"]
    table = Table(rows, "The first components", floats=".4g", shares=shares, bar=shares[0], wide=True)
    return Section("Components", text, [scree, table])


def _loadings(components: Components, kept: int, names: Sequence[str]) -> list[Section]:
    """Return the section of the loadings; none where there are too many to read."""
    if len(components.singular) > SHOWN_COMPONENTS:
        return []
    text = (
        "What each number of a vector weighs in a score. A component is of length 1; its largest loading is positive."
    )
    rows = [
        {"Number": _number_name(place, names)} | {f"PC{k}": loading for k, loading in enumerate(row, 1)}
        for place, row in enumerate(components.axes[:, :kept].tolist())
    ]
    return [Section("Loadings", text, [Table(rows, "Loadings", floats=".4f", wide=True)])]


def _number_name(place: int, names: Sequence[str]) -> str:
    return names[place] if names else f"number {place + 1}"


def _cosines(
    sample: Sample, stored: np.ndarray, errors: Sequence[Mapping[str, Any]], seed: int, *, centered: bool
) -> Section:
    kept = stored.shape[1]
    text = (
        f"Of {many(len(sample.rows), 'vector')} drawn from all, in pairs. An error is the absolute difference of the "
        "cosine of a pair before and after. The weighted mean counts a pair by the squares of both magnitudes; the "
        "bound is of that mean over all rows, by the variance left out."
    )
    if centered:
        text += " Centring moves the origin, so that cosines change whatever is kept."
    else:
        text += " All components together lose nothing but a rounding: a rotation keeps every angle."
    pairs = draw_pairs(len(sample.rows), sample.before.shape[1], seed)[:SHOWN_PAIRS]
    before, after = cosines(sample.before, pairs), cosines(stored, pairs)
    scatter = _scatter(before, after, x_label="Cosine before", y_label=f"Cosine after, {kept} components")
    curve = [row for row in errors if row["vector_type"] == "float64" and not row["written"] and row["components"]]
    curve = [row for row in curve if (row["cosine_error_mean"] or 0) > 1e-12]
    series = [
        Series(label=label, x=[row["components"] for row in curve], y=[row[name] for row in curve])
        for label, name in (("mean", "cosine_error_mean"), ("99 %", "cosine_error_p99"))
    ]
    labels: Any = {"x_label": "Components kept", "y_label": "Cosine error", "caption": "What fewer components cost."}
    alt = "Falling lines: the mean error and that of the 99th percentile against the components that are kept."
    lines = line_plot(series, **labels, alt=alt)
    mine = [row for row in errors if row["reference"] == errors[0]["reference"]]
    numbers = len([row for row in mine if not row["written"]])
    chosen = {1, 2, kept, numbers} | {2**power for power in range(3, 12)} | {max(1, kept - 1), min(numbers, kept + 1)}
    rows = [row for row in mine if row["components"] in chosen]
    return Section("Cosines", text, [scatter, lines, _table_of_errors(rows, "Cosine errors", of_components=True)])


def _scatter(before: np.ndarray, after: np.ndarray, *, x_label: str, y_label: str) -> Plot:
    caption = "Pairs of the sample."
    if not len(before):
        return Plot("", caption, "No picture: there are no pairs.")
    ends = np.linspace(min(before.min(), after.min()), max(before.max(), after.max()), 200).tolist()
    return scatter_plot(
        [Series(label="pairs", x=before.tolist(), y=after.tolist()), Series(label="no change", x=ends, y=ends)],
        x_label=x_label,
        y_label=y_label,
        caption=caption,
        alt=f"Points of {len(before):,} pairs, and the line on which nothing changes.",
    )


def _table_of_errors(rows: Sequence[Mapping[str, Any]], caption: str, *, of_components: bool) -> Table:
    titles = {f"cosine_error_{name}": title for name, title in ERRORS_SHOWN.items()}
    if of_components:
        titles |= {"cosine_error_weighted": "Weighted mean", "bound": "Its bound", "magnitude_mean": "Magnitude kept"}
    else:
        titles |= {"correlation": "Correlation"}
    recalls = {f"recall_{k}": f"Of {k} nearest" if k > 1 else "Nearest kept" for k in NEIGHBOURS}
    shown: list[dict[str, Cell]] = []
    for row in sorted(rows, key=lambda row: (row["components"], row["written"])):
        name = row["vector_type"] if row["components"] else "before the rotation"
        first: dict[str, Cell] = {"Components": row["components"] or None}
        first["Type"] = Term(name, "as written") if row["written"] else name
        shown.append(first | {title: row[key] for key, title in (titles | recalls).items()})
    return Table(shown, caption, floats=".2g", shares=["Magnitude kept", *recalls.values()], wide=True)


def _histograms(sample: Sample, kept: int, names: Sequence[str]) -> Section:
    """Return the distributions of the first scores; of short vectors each beside that of a number before."""
    text = "The scores of the sample. A flat picture is a uniform distribution, a bell a normal one."
    numbers = sample.before.shape[1]
    before = np.ldexp(sample.before, sample.exponents[:, None])
    plots = []
    for place in range(min(HISTOGRAMS, numbers)):
        if numbers <= SHOWN_COMPONENTS:
            name = _number_name(place, names)
            plots.append(_histogram(before[:, place], name, x_label=name))
        if place < kept:
            plots.append(_histogram(sample.scores[:, place], f"PC{place + 1}", x_label=f"Score on PC{place + 1}"))
    if numbers <= SHOWN_COMPONENTS:
        text = "The numbers of the sample, each beside a component: " + text[0].lower() + text[1:]
    return Section("First components", text, plots)


def _histogram(values: np.ndarray, name: str, *, x_label: str) -> Plot:
    alt = f"Bars of vectors by {x_label}."
    return histogram(values, x_label=x_label, y_label="Vectors of the sample", caption=f"{name}.", alt=alt)


def _neighbours(sample: Sample, stored: np.ndarray, seed: int) -> Section:
    text = "Nearest by cosine among the sample. How many of them stay is told with the cosine errors."
    queries = draw_queries(len(sample.rows), seed)[:SHOWN_QUERIES]
    ours = nearest(sample.before, queries, SHOWN_NEIGHBOURS)
    theirs = nearest(stored, queries, SHOWN_NEIGHBOURS)
    rows: list[dict[str, Cell]] = []
    for query, old, new in zip(queries.tolist(), ours.tolist(), theirs.tolist(), strict=True):
        for rank, (a, b) in enumerate(zip(old, new, strict=True)):
            row: dict[str, Cell] = {"Vector": "" if rank else _name(sample, query), "Rank": rank + 1}
            for when, vectors, near in (("before", sample.before, a), ("after", stored, b)):
                cosine = float(cosines(vectors, np.array([[query, near]]))[0])
                row |= {f"Nearest {when}": _name(sample, near), f"Cosine {when}": cosine}
            rows.append(row)
    return Section("Neighbours", text, [Table(rows, "Neighbours of a few vectors", floats=".4f", wide=True)])


def _name(sample: Sample, place: int) -> str:
    if sample.labels is None:
        return f"row {int(sample.rows[place]) + 1:,}"
    return clip(sample.labels[place], LONGEST_LABEL)


def _against(
    sample: Sample, stored: np.ndarray, errors: Sequence[Mapping[str, Any]], seed: int, name: str | None
) -> list[Section]:
    rows = [row for row in errors if row["reference"] == name]
    if name is None or sample.against is None or not rows:
        return []
    usable = np.isfinite(sample.against).all(axis=1) & sample.against.any(axis=1)
    pairs = draw_pairs(int(usable.sum()), sample.before.shape[1], seed)[:SHOWN_PAIRS]
    theirs, ours = cosines(sample.against[usable], pairs), cosines(stored[usable], pairs)
    plot = _scatter(theirs, ours, x_label=f"Cosine of {name}", y_label="Cosine of the rotated vectors")
    text = (
        f"How the cosines and the neighbours of the rotated vectors agree with those of {name}, and how those of the "
        f"vectors before the rotation did. Of {many(int(usable.sum()), 'vector')} that have both."
    )
    return [Section(f"Against {name}", text, [plot, _table_of_errors(rows, f"Against {name}", of_components=False)])]
