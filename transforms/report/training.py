"""The report of a classifier that was trained on titles."""

from collections.abc import Mapping
from typing import Any

from molino.transforms.report.charts import Series, line_plot
from molino.transforms.report.page import Section, Table, page
from molino.transforms.report.run import option_table

OF_PHRASES = ("dim", "members", "leave_out", "min_count")


def training_report(figures: Mapping[str, Any]) -> str:
    """Return what a training came to as one HTML page. `figures`: what stands in metrics.json: see docs/training.md."""
    test = figures["test"]
    summary = [
        ("balanced accuracy, test", f"{test['balanced_accuracy']:.4f}"),
        ("accuracy, test", f"{test['accuracy']:.4f}"),
        *((name.replace("_", " ").replace("top", "top "), f"{test[name]:.4f}") for name in test if name[:3] == "top"),
        ("test titles", f"{test['titles']:,}"),
        ("categories", f"{figures['categories']:,}"),
        ("parameters", f"{figures['parameters']:,}"),
    ]
    plain = {**figures["options"], "backend": figures["backend"], "manifest": figures["run"]}
    left_out = () if plain["architecture"] == "phrases" else OF_PHRASES
    options = {name: value for name, value in plain.items() if name not in left_out}
    flags = {"backend": "backend of Keras", "manifest": "manifest of the run that was read, sha256"}
    sections = [_figures(figures), _curves(figures), *_languages(figures), _mistakes(figures), _speed(figures)]
    sections.append(Section("Options", "Options as the program understood them.", [option_table(options, flags)]))
    subtitle = [
        f"The architecture {plain['architecture']}, trained on the training split and chosen on the validation split.",
        f"Data: the titles run whose manifest has the sha256 {figures['run'][:16]}….",
    ]
    warnings = figures.get("warnings", ())
    return page("Classifier of titles", subtitle=subtitle, summary=summary, sections=sections, warnings=warnings)


def _figures(figures: Mapping[str, Any]) -> Section:
    text = (
        "Balanced accuracy is the mean recall over the categories that are there. The interval is 95 % of what it "
        "becomes when titles are drawn again, with replacement, within their category."
    )
    top = next((name for name in figures["test"] if name[:3] == "top"), "")
    sure = [what for what in ("scores", "probabilities") if f"calibration_error_of_{what}" in figures["test"]]
    rows = []
    for split in ("validation", "test"):
        each = figures[split]
        row = {"Split": split, "Titles": each["titles"], "Balanced accuracy": each["balanced_accuracy"]}
        row |= {"Interval": f"{each['low']:.4f} to {each['high']:.4f}", "Accuracy": each["accuracy"]}
        row[f"Among the first {top.partition('_')[0][3:]}"] = each[top] if top else None
        rows.append(row | {f"Calibration error of {what}": each[f"calibration_error_of_{what}"] for what in sure})
    table = Table(rows, "Figures of the finished classifier", floats=".4f", wide=True)
    return Section("Figures", text, [table])


def _curves(figures: Mapping[str, Any]) -> Section:
    kept = {
        name: max(range(len(epochs)), key=lambda place: epochs[place]["validation_balanced_accuracy"]) + 1
        for name, epochs in figures["epochs"].items()
    }
    which = ", ".join(f"{number} of {name}" if len(kept) > 1 else f"{number}" for name, number in kept.items())
    text = f"The epoch of the best balanced accuracy on the validation split is the one that was kept: {which}."
    if len(kept) > 1:
        text += " A classifier of one language is trained and measured on the titles of that language alone."
    lines: dict[str, list[Series]] = {"loss": [], "accuracy": []}
    for name, epochs in figures["epochs"].items():
        of, balanced = ("", "balanced accuracy") if name == "all" else (f", {name}", "balanced")
        kinds = {"loss": "training", "validation_loss": "validation"}
        kinds |= {"validation_balanced_accuracy": balanced, "validation_accuracy": "accuracy"}
        for key, label in kinds.items():
            one = Series(label=f"{label}{of}", x=list(range(1, len(epochs) + 1)), y=[each[key] for each in epochs])
            lines["accuracy" if "accuracy" in key else "loss"].append(one)
    last = figures["epochs"]["all"][-1]
    loss = f"Lines of the loss by epoch; after the last {last['loss']:.4f} and {last['validation_loss']:.4f}."
    accuracy = f"Lines of accuracy by epoch; after the last {last['validation_accuracy']:.4f}, "
    accuracy += f"balanced {last['validation_balanced_accuracy']:.4f}."
    parts = [
        line_plot(series, x_label="Epoch", years=True, y_label=y_label, caption=caption, alt=alt)  # whole numbers
        for series, y_label, caption, alt in (
            (lines["loss"], "Cross-entropy", "Loss on the training and the validation split.", loss),
            (lines["accuracy"], "Accuracy", "On the validation split.", accuracy),
        )
    ]
    return Section("Learning curves", text, parts)


def _languages(figures: Mapping[str, Any]) -> list[Section]:
    choice = figures["choice"]
    if not choice:
        return []
    better = "One classifier a language is" if choice["better"] == "each" else "One classifier for all languages is"
    text = f"{better} better on the validation split, and is what was written. Balanced accuracy of both:"
    both = {split: choice[split] for split in ("validation", "test")}
    both |= {f"test, {language}": each for language, each in choice["test_by_language"].items()}
    rows = [
        {"Titles": of, "One for all": each["one"], "One a language, merged": each["each"]} for of, each in both.items()
    ]
    return [Section("One classifier, or one a language", text, [Table(rows, "By language", floats=".4f", wide=True)])]


def _mistakes(figures: Mapping[str, Any]) -> Section:
    text = "Categories of the lowest recall on the test split, and what their titles were taken for."
    rows = []
    for each in figures["worst"]:
        row = {"Category": each["category"], "Titles": each["titles"], "Recall": each["right"] / each["titles"]}
        taken_for = ", ".join(f"{name} ({times})" for name, times in each["taken_for"])
        rows.append(row | {"Taken for": taken_for or None})
    table = Table(rows, "The worst first", shares=["Recall"], bar="Recall", wide=True)
    return Section("Worst categories", text, [table])


def _speed(figures: Mapping[str, Any]) -> Section:
    rows = []
    for name, epochs in figures["times"].items():
        for number, each in enumerate(epochs, 1):
            row = {"Trained on": name, "Epoch": number, "Seconds": each["seconds"]}
            row |= {"Titles a second": round(each["rows_a_second"]), "Waiting for data": each["waiting"]}
            rows.append(row)
    table = Table(rows, "Epochs", shares=["Waiting for data"], wide=True)
    return Section("Speed", "Measuring on the validation split is not counted.", [table])
