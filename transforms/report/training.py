"""The report of a classifier that was trained on titles."""

from collections.abc import Mapping
from typing import Any

from molino.transforms.report.charts import Series, line_plot
from molino.transforms.report.page import Column, Section, Table, page

NOT_TOLD = ("quiet",)
OF_PHRASES = ("dim", "members", "leave_out", "min_count")


def training_report(found: Mapping[str, Any]) -> str:
    """Return what a training came to as one HTML page.

    Args:
      found: what stands in metrics.json: see docs/training.md.
    """
    test = found["test"]
    summary = [
        ("balanced accuracy, test", f"{test['balanced_accuracy']:.4f}"),
        ("accuracy, test", f"{test['accuracy']:.4f}"),
        *((name.replace("_", " ").replace("top", "top "), f"{test[name]:.4f}") for name in test if name[:3] == "top"),
        ("test titles", f"{test['titles']:,}"),
        ("categories", f"{found['categories']:,}"),
        ("parameters", f"{found['parameters']:,}"),
    ]
    sections = [_figures(found), _curves(found), *_languages(found), _mistakes(found), _speed(found), _made(found)]
    what = found["options"]["architecture"]
    subtitle = f"The architecture {what}, trained on the training split and chosen on the validation split."
    return page(
        "Classifier of titles",
        subtitle=subtitle,
        summary=summary,
        sections=sections,
        warnings=found.get("warnings", ()),
    )


def _figures(found: Mapping[str, Any]) -> Section:
    text = (
        "Balanced accuracy is the mean recall over the categories that are there. The interval is 95 % of what it "
        "becomes when titles are drawn again, with replacement, within their category."
    )
    top = next((name for name in found["test"] if name[:3] == "top"), "")
    sure = [what for what in ("scores", "probabilities") if f"calibration_error_of_{what}" in found["test"]]
    columns = (
        Column(title="Split"),
        Column(title="Titles", unit="count"),
        Column(title="Balanced accuracy"),
        Column(title="Interval"),
        Column(title="Accuracy"),
        Column(title=f"Among the first {top.partition('_')[0][3:]}"),
        *(Column(title=f"Calibration error of {what}") for what in sure),
    )
    rows = [
        (
            split,
            each["titles"],
            f"{each['balanced_accuracy']:.4f}",
            f"{each['low']:.4f} to {each['high']:.4f}",
            f"{each['accuracy']:.4f}",
            f"{each[top]:.4f}" if top else None,
            *(f"{each[f'calibration_error_of_{what}']:.4f}" for what in sure),
        )
        for split, each in ((split, found[split]) for split in ("validation", "test"))
    ]
    return Section("Figures", text, [Table(columns, rows, "Figures of the finished classifier", wide=True)])


def _curves(found: Mapping[str, Any]) -> Section:
    kept = {
        name: max(range(len(epochs)), key=lambda place: epochs[place]["validation_balanced_accuracy"]) + 1
        for name, epochs in found["epochs"].items()
    }
    which = ", ".join(f"{number} of {name}" if len(kept) > 1 else f"{number}" for name, number in kept.items())
    text = f"The epoch of the best balanced accuracy on the validation split is the one that was kept: {which}."
    if len(kept) > 1:
        text += " A classifier of one language is trained and measured on the titles of that language alone."
    losses, figures = [], []
    for name, epochs in found["epochs"].items():
        of = "" if name == "all" else f", {name}"
        numbers = list(range(1, len(epochs) + 1))
        losses.append(Series(label=f"training{of}", x=numbers, y=[each["loss"] for each in epochs]))
        losses.append(Series(label=f"validation{of}", x=numbers, y=[each["validation_loss"] for each in epochs]))
        balanced = "balanced" if of else "balanced accuracy"
        for key, label in (("validation_balanced_accuracy", balanced), ("validation_accuracy", "accuracy")):
            figures.append(Series(label=f"{label}{of}", x=numbers, y=[each[key] for each in epochs]))
    last = found["epochs"]["all"][-1]
    parts = [
        line_plot(
            losses,
            x_label="Epoch",
            years=True,  # whole numbers
            y_label="Cross-entropy",
            caption="Loss on the training and the validation split.",
            alt=f"Lines of the loss by epoch; after the last {last['loss']:.4f} and {last['validation_loss']:.4f}.",
        ),
        line_plot(
            figures,
            x_label="Epoch",
            years=True,  # whole numbers
            y_label="Accuracy",
            caption="On the validation split.",
            alt=f"Lines of accuracy by epoch; after the last {last['validation_accuracy']:.4f}, "
            f"balanced {last['validation_balanced_accuracy']:.4f}.",
        ),
    ]
    return Section("Learning curves", text, parts)


def _languages(found: Mapping[str, Any]) -> list[Section]:
    choice = found["choice"]
    if not choice:
        return []
    better = "One classifier a language is" if choice["better"] == "each" else "One classifier for all languages is"
    text = f"{better} better on the validation split, and is what was written. Balanced accuracy of both:"
    rows = [(split, f"{choice[split]['one']:.4f}", f"{choice[split]['each']:.4f}") for split in ("validation", "test")]
    rows += [
        (f"test, {language}", f"{each['one']:.4f}", f"{each['each']:.4f}")
        for language, each in choice["test_by_language"].items()
    ]
    columns = (Column(title="Titles"), Column(title="One for all"), Column(title="One a language, merged"))
    return [Section("One classifier, or one a language", text, [Table(columns, rows, "By language", wide=True)])]


def _mistakes(found: Mapping[str, Any]) -> Section:
    text = "Categories of the lowest recall on the test split, and what their titles were taken for."
    columns = (
        Column(title="Category"),
        Column(title="Titles", unit="count"),
        Column(title="Recall", unit="share", bar=True),
        Column(title="Taken for"),
    )
    rows = [
        (
            each["category"],
            each["titles"],
            each["right"] / each["titles"],
            ", ".join(f"{name} ({times})" for name, times in each["taken_for"]) or None,
        )
        for each in found["worst"]
    ]
    return Section("Worst categories", text, [Table(columns, rows, "The worst first", wide=True)])


def _speed(found: Mapping[str, Any]) -> Section:
    columns = (
        Column(title="Trained on"),
        Column(title="Epoch", unit="count"),
        Column(title="Seconds", unit="mean"),
        Column(title="Titles a second", unit="count"),
        Column(title="Waiting for data", unit="share"),
    )
    rows = [
        (name, number, each["seconds"], round(each["rows_a_second"]), each["waiting"])
        for name, epochs in found["times"].items()
        for number, each in enumerate(epochs, 1)
    ]
    text = "Measuring on the validation split is not counted."
    return Section("Speed", text, [Table(columns, rows, "Epochs", wide=True)])


def _made(found: Mapping[str, Any]) -> Section:
    options = {**found["options"], "backend of Keras": found["backend"], "manifest of the run": found["run"]}
    left_out = NOT_TOLD + (() if options["architecture"] == "phrases" else OF_PHRASES)
    rows = [(name, _shown(value)) for name, value in options.items() if name not in left_out]
    columns = (Column(title="What"), Column(title="Value"))
    return Section("How it was made", "Options as the program understood them.", [Table(columns, rows, "Options")])


def _shown(value: Any) -> str | None:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or None
    return None if value is None else str(value)
