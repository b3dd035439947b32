"""The report of a comparison of language models."""

from collections.abc import Mapping
from typing import Any

from molino.transforms.report.charts import COLORS, plot
from molino.transforms.report.page import Cell, Plot, Section, Table, clip, page, visible


def compare_report(comparison: Mapping[str, Any]) -> str:
    """Return a comparison as training.compare has it as one HTML page; its bytes depend on the argument only."""
    best = comparison["models"][0]
    summary = [
        ("balanced accuracy of the best", f"{best['balanced_accuracy']:.4f}"),
        ("models", f"{len(comparison['models']):,}"),
        ("trials", f"{len(comparison['trials']):,}"),
    ]
    text = (
        "A difference is between models that have all else in common, averaged over such pairs; its interval draws "
        "titles and trials again. p is the chance of one as large, either way, where trials of a pair change places at "
        "random, corrected after Holm for the number of factors; significant is one below 5 %."
    )
    if comparison["own_titles"]:
        text += " Each trial has titles of its own, so drawing the trials draws their titles with them."
    rows = [{"What was found": sentence} for sentence in comparison["sentences"]]
    findings = Section("Findings", text, [Table(rows, "In words", wide=True)])
    sections = [findings, _ranking(comparison), _trials(comparison)]
    subtitle = "Balanced accuracy of classifiers on the vectors of each model, and how certain the differences are."
    return page("Language models compared", subtitle=[subtitle], summary=summary, sections=sections)


def _ranking(comparison: Mapping[str, Any]) -> Section:
    text = (
        "Balanced accuracy is the mean recall over the categories that are there. A thick line is the interval over "
        "titles alone, a thin one over titles and repeats: 95 % of what the mean becomes when titles, and trials, are "
        f"drawn again with replacement, {comparison['draws']:,} times, titles within their category. The interval of "
        "the distance to the best holds for all models together."
    )
    rows: list[dict[str, Cell]] = []
    for row in comparison["models"]:
        shown = {"Model": row["model"], "Trials": row["repeats"], "Balanced accuracy": row["balanced_accuracy"]}
        shown["Deviation"] = row["deviation"]
        for what, end in (("titles", "_titles"), ("repeats", "_repeats"), ("both", "")):
            shown[f"Over {what}"] = _between(row[f"low{end}"], row[f"high{end}"])
        below = f"{row['below_best']:.4f} ({row['below_best_low']:+.4f} to {row['below_best_high']:+.4f})"
        rows.append(shown | {"Below the best (95 %)": below if row["below_best"] else None})
    table = Table(rows, "The models, the best first", floats=".4f", wide=True)
    return Section("Models", text, [_dots(comparison), table])


def _between(low: float | None, high: float | None) -> str | None:
    return None if low is None else f"{low:.4f} to {high:.4f}"


def _dots(comparison: Mapping[str, Any]) -> Plot:
    models = comparison["models"]
    points: dict[str, list[float]] = {}
    for row in comparison["trials"]:
        points.setdefault(row["model"], []).append(row["balanced_accuracy"])

    def draw(axes: Any) -> None:
        # room for the names
        axes.set_position((0.36, 0.155, 0.61, 0.8))
        for place, row in enumerate(models):
            axes.plot([row["low"], row["high"]], [place, place], color=COLORS[0], linewidth=1.2)
            axes.plot([row["low_titles"], row["high_titles"]], [place, place], color=COLORS[0], linewidth=4, alpha=0.45)
            axes.plot(points[row["model"]], [place] * row["repeats"], "|", color=COLORS[1], markersize=9)
            axes.plot([row["balanced_accuracy"]], [place], "o", color=COLORS[0], markersize=6)
        names = [visible(row["model"].replace("-with-normalization", "-norm")) for row in models]
        axes.set_yticks(range(len(models)), [clip(name, 24) for name in names], fontsize=9)
        axes.set_ylim(len(models) - 0.4, -0.6)
        axes.set_xlabel("Balanced accuracy")

    words = "; ".join(f"{r['model']} {r['balanced_accuracy']:.4f} ({r['low']:.4f} to {r['high']:.4f})" for r in models)
    caption = "Dots are means, strokes the trials; thick lines: over titles, thin ones: over titles and repeats."
    return plot(draw, caption=caption, alt=f"Models from best to worst, with intervals: {words}.")


def _trials(comparison: Mapping[str, Any]) -> Section:
    published = all(row["published"] is not None for row in comparison["trials"])
    rows: list[dict[str, Cell]] = []
    for row in comparison["trials"]:
        shown = {"Trial": row["trial"], "Model": row["model"], "Titles": row["titles"], "Categories": row["classes"]}
        shown |= {"Accuracy": f"{row['accuracy']:.4f}", "Balanced accuracy": f"{row['balanced_accuracy']:.4f}"}
        shown["Over titles"] = _between(row["low"], row["high"])
        if published:
            shown["Published"] = f"{row['published']:.4f}"
        else:
            shown["Epochs"] = row["epochs"]
            if row["seconds"] is not None:
                shown |= {"Seconds": row["seconds"], "Peak, GB": row["peak_bytes"] / 1e9}
        rows.append(shown)
    return Section("Trials", "Every training, by name.", [Table(rows, "Trials", wide=True)])
