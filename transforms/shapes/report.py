"""The report of the shapes job: how accuracy grows with width and depth, how it spreads over seeds, and a gallery."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from molino.schemas.shapes import COUNTERS
from molino.transforms.parquet.scratch import read_scratch
from molino.transforms.parquet.shards import StagedFile, write_view
from molino.transforms.report.charts import COLORS, DASHES, MARKS, plot
from molino.transforms.report.page import Cell, Gallery, Picture, Plot, Section, Table, Term, format_number
from molino.transforms.report.run import JobTerms, RunFacts, run_page
from molino.transforms.shapes.points import Problem
from molino.transforms.shapes.run_network import CARDS, RUN_CARDS

MOST_SETUPS = 40  # in the table of seeds
TERMS = JobTerms(
    counters=COUNTERS,
    noun="networks",
    apart=("predictions", "points"),
    flags={"points.kind": "--points", "plots": "pictures", "max_reject_ratio": ""},
)
# what makes two networks the same but for their initial weights
SETUP = ("problem", "r", "hidden", "batch", "steps", "rate", "decay", "decay_steps", "l2", "deviation")
SPLITS = {"train": "Training", "validation": "Validation", "test": "Test"}
# headings of the filters of the gallery, and how a network's value is written
FILTERS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "Problem": lambda run: _shape(run),
    "Layers": lambda run: str(len(run["hidden"])),
    "Nodes": lambda run: nodes_text(run),
    "Batch": lambda run: f"{run['batch']:,}",
    "Steps": lambda run: f"{run['steps']:,}",
    "Rate": lambda run: f"{run['rate']:g}",
    "L2": lambda run: f"{run['l2']:g}",
    "Deviation": lambda run: f"{run['deviation']:g}",
    "Decay": lambda run: f"{run['decay']:g}",
    "Seed": lambda run: str(run["seed"]),
}
# how the gallery can be sorted; the first holds until another is chosen
ORDERS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "sweep": lambda run: run["run"],
    "accuracy, highest first": lambda run: (-run["test_accuracy"], run["run"]),
    "accuracy, lowest first": lambda run: (run["test_accuracy"], run["run"]),
    "weights, most first": lambda run: (-run["parameters"], run["run"]),
    "weights, fewest first": lambda run: (run["parameters"], run["run"]),
    "points seen, most first": lambda run: (-run["batch"] * run["steps"], run["run"]),
    "overfitting, most first": lambda run: (run["test_accuracy"] - run["train_accuracy"], run["run"]),
}


def write_shapes_report(files: Sequence[StagedFile], counters: Mapping[str, int], run: Any) -> Iterator[StagedFile]:
    """Stage the report of the networks whose cards these files hold. Memory: all thumbnails, some 10 kB each."""
    cards = pa.Table.from_batches(read_scratch(files, RUN_CARDS), CARDS)
    cards = cards.drop_columns(["seconds"])  # times are of this machine
    report = shapes_report(cards, RunFacts.of(run, counters, TERMS))
    yield write_view(report.encode(), folder=run.staging, name="report.html")


def shapes_report(cards: pa.Table, facts: RunFacts) -> str:
    """Return the page of CARDS without `seconds`, in the order of the sweep; its bytes depend on the arguments only."""
    runs = cards.to_pylist()
    growth = (
        "Accuracy on the test points. Lines: the mean over the seeds of the best networks of that size; bands: from "
        "the lowest seed to the highest."
    )
    sections = [_best(runs), Section("Width and depth", growth, [_width(runs), _depth(runs)])]
    sections += [*_seeds(runs), gallery_section(runs)]
    subtitle = "Small networks that learn which points of a square lie in a shape."
    return run_page("Shapes", facts, subtitle=subtitle, summary=_summary(runs, facts), sections=sections)


def _shape(run: Mapping[str, Any]) -> str:
    return str(Problem(run["problem"], run["r"]))


def nodes_text(run: Mapping[str, Any]) -> str:
    """Return the nodes of the hidden layers, as they are read.

    >>> nodes_text({"hidden": [1000, 10]})
    '1,000 · 10'
    """
    return " · ".join(f"{nodes:,}" for nodes in run["hidden"])


def group_seeds(runs: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Return the networks that differ in their seed alone, together; in the order of the sweep."""
    groups: dict[tuple, list] = {}
    for run in runs:
        groups.setdefault(tuple(str(run[name]) for name in SETUP), []).append(run)
    return list(groups.values())


def _accuracies(group: Sequence[Mapping[str, Any]]) -> np.ndarray:
    return np.array([run["test_accuracy"] for run in group])


def _summary(runs: Sequence[Mapping[str, Any]], facts: RunFacts) -> list[tuple[str, str]]:
    best = max(runs, key=lambda run: (run["test_accuracy"], -run["run"]), default=None)
    shown = [
        ("networks", format_number(len(runs))),
        ("problems", str(len({_shape(run) for run in runs}))),
        ("weights and biases trained", format_number(sum(run["parameters"] for run in runs))),
    ]
    if best:
        shown.append((f"best: {_shape(best)}, {nodes_text(best)}", f"{best['test_accuracy']:.2%}"))
    return shown + (facts.figures({"diverged": "diverged"}) if facts.counters.get("diverged") else [])


def _best(runs: Sequence[Mapping[str, Any]]) -> Section:
    rows = []
    for problem in dict.fromkeys(map(_shape, runs)):
        of = [run for run in runs if _shape(run) == problem]
        best = max(of, key=lambda run: (run["test_accuracy"], -run["run"]))
        how = f"batch {best['batch']:,}, {best['steps']:,} steps, seed {best['seed']}, no. {best['run']}"
        row = {"Problem": problem, "Networks": len(of), "Base": best["base"]}
        row["Best network: nodes"] = Term(nodes_text(best), how)
        row |= {split: best[f"{key}_accuracy"] for key, split in SPLITS.items()}
        rows.append(row)
    text = "The base is what one gets right by saying the commoner class of every point. "
    text += "What else a network was trained with stands in the gallery, by its number."
    caption = "Best network of each problem, by the test points"
    table = Table(rows, caption, shares=["Base", *SPLITS.values()], wide=True)
    return Section("Best of each problem", text, [table])


def _best_groups(runs: Sequence[Mapping[str, Any]], key: Callable) -> dict[tuple[str, Any], np.ndarray]:
    """Return, for each problem and key, the accuracies over seeds of the setup with the highest mean."""
    found: dict[tuple[str, Any], np.ndarray] = {}
    for group in group_seeds(runs):
        place, values = (_shape(group[0]), key(group[0])), _accuracies(group)
        if place not in found or values.mean() > found[place].mean():
            found[place] = values
    return found


def _in_words(found: Mapping[tuple[str, Any], np.ndarray]) -> str:
    return "; ".join(f"{problem} with {key:,} {found[problem, key].mean():.0%}" for problem, key in sorted(found))


def _width(runs: Sequence[Mapping[str, Any]]) -> Plot:
    one_layer = [run for run in runs if len(run["hidden"]) == 1]
    found = _best_groups(one_layer, lambda run: run["hidden"][0])
    problems = list(dict.fromkeys(map(_shape, one_layer)))
    caption = "Accuracy of networks with one hidden layer, by its nodes"

    def draw(axes: Any) -> None:
        for number, problem in enumerate(problems):
            widths = sorted(nodes for name, nodes in found if name == problem)
            groups = [100 * found[problem, nodes] for nodes in widths]
            look = {"color": COLORS[number % 6], "linestyle": DASHES[number % 6], "marker": MARKS[number % 6]}
            axes.plot(widths, [values.mean() for values in groups], label=problem, markersize=5, **look)
            lows, highs = ([bound(values) for values in groups] for bound in (np.min, np.max))
            axes.fill_between(widths, lows, highs, color=COLORS[number % 6], alpha=0.15, linewidth=0)
        axes.set_xscale("log")
        ticks = sorted({nodes for _, nodes in found})
        axes.set_xticks(ticks, [f"{nodes:,}" for nodes in ticks])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("Nodes")
        axes.set_ylabel("Right, %")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=6, columnspacing=0.9, handlelength=1.6)

    return plot(draw if found else None, caption=caption, alt=f"{caption}: {_in_words(found)}")


def _depth(runs: Sequence[Mapping[str, Any]]) -> Plot:
    found = _best_groups(runs, lambda run: len(run["hidden"]))
    problems, depths = list(dict.fromkeys(map(_shape, runs))), sorted({depth for _, depth in found})
    caption = "Accuracy by the number of hidden layers; dots: seeds"

    def draw(axes: Any) -> None:
        wide = 0.8 / len(depths)
        for number, depth in enumerate(depths):
            color, layers = COLORS[number % 6], "layer" if depth == 1 else "layers"
            at = [place - 0.4 + (number + 0.5) * wide for place in range(len(problems))]
            groups = [found.get((problem, depth), np.array([])) for problem in problems]
            heights = [100 * values.mean() if len(values) else 0 for values in groups]
            axes.bar(at, heights, wide * 0.92, color=color, alpha=0.55, label=f"{depth} {layers}")
            for place, values in zip(at, groups, strict=True):
                axes.scatter([place] * len(values), 100 * values, s=14, color=color, zorder=3, linewidths=0)
        axes.set_xticks(range(len(problems)), problems)
        lowest = min(100 * values.min() for values in found.values())
        axes.set_ylim(min(40, lowest - 2), 101)
        axes.grid(visible=False, axis="x")
        axes.set_ylabel("Right, %")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=6)

    return plot(draw if found else None, caption=caption, alt=f"{caption}: {_in_words(found)}")


def _seeds(runs: Sequence[Mapping[str, Any]]) -> list[Section]:
    groups = [group for group in group_seeds(runs) if len(group) > 1]
    if not groups:
        return []
    groups.sort(key=lambda group: -np.ptp(_accuracies(group)))  # stable: of one spread, in the order of the sweep
    measures: dict[str, Callable] = {"Lowest": np.min, "Median": np.median, "Highest": np.max, "Spread": np.ptp}
    rows = []
    for group in groups[:MOST_SETUPS]:
        run, values = group[0], _accuracies(group)
        how = f"batch {run['batch']:,}, {run['steps']:,} steps"
        row: dict[str, Cell] = {"Network": Term(f"{_shape(run)}, {nodes_text(run)}", how), "Seeds": len(values)}
        rows.append(row | {title: float(measure(values)) for title, measure in measures.items()})
    text = "Networks that differ in their initial weights alone, those with the widest spread first."
    more = f": the first {MOST_SETUPS} of {len(groups):,}" if len(groups) > MOST_SETUPS else ""
    caption = f"Accuracy on the test points over seeds{more}"
    table = Table(rows, caption, shares=list(measures), bar="Spread", wide=True)
    return [Section("Spread over seeds", text, [table])]


def gallery_section(runs: Sequence[Mapping[str, Any]]) -> Section:
    """Return every network's picture, to be sorted and filtered."""
    filters: list[tuple[str, Sequence[str], Sequence[int]]] = []
    for title, write in FILTERS.items():
        values = [write(run) for run in runs]
        choices = list(dict.fromkeys(values))
        if title != "Problem":
            choices.sort(key=lambda text: [float(part.replace(",", "")) for part in text.split(" · ")])
        if len(choices) > 1:
            filters.append((title, choices, [choices.index(value) for value in values]))
    orders = {
        title: np.argsort(sorted(range(len(runs)), key=lambda place: key(runs[place]))).tolist()
        for title, key in ORDERS.items()
    }
    varied = [name for name in ("rate", "decay", "l2", "deviation") if len({run[name] for run in runs}) > 1]
    pictures = [_picture(run, varied) for run in runs]
    text = (
        "A picture marked as not above the base is of a network that is no better than the commoner class. "
        "Training points light blue where false and dark where true; test points gray where the network is right and "
        "red where it is wrong. plots/ has each picture at full size, by the number of its network."
    )
    return Section("Gallery", text, [Gallery(pictures, f"{len(runs):,} networks", filters, orders)])


def _picture(run: Mapping[str, Any], varied: Sequence[str]) -> Picture:
    more = "".join(f" · {name} {run[name]:g}" for name in varied)
    note = f"{nodes_text(run)} · batch {run['batch']:,} · {run['steps']:,} steps · seed {run['seed']}{more}"
    note += f" · no. {run['run']}"
    mark = "diverged" if run["diverged"] else "not above base" if run["test_accuracy"] <= run["base"] else ""
    title = f"{_shape(run)} {run['test_accuracy']:.1%}"
    return Picture(jpeg=run["thumbnail"] or b"", title=title, note=note, mark=mark)
