"""Compare trials of classifiers: what their figures say of the language models, and how sure that is."""

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from molino.training import certainty
from molino.training.certainty import Trial
from molino.transforms.errors import DataError

FACTORS = {"language": ("es", "en"), "normalized": ("yes", "no")}  # and dim, whatever sizes there are
LANGUAGE = re.compile(r"(?<![a-z])(en|es)(?![a-z])")
DIM = re.compile(r"dim(\d+)|(?<!\d)(50|128)(?!\d)")


def read_published(predictions: str, metadata: str) -> tuple[list[Trial], dict[str, dict[str, Any]]]:
    """Return the trials of published experiments, and what else is known of each; DataError where none can be read."""
    known = _read_metadata(metadata)
    models = {name: each["language_model"] for name, each in known.items()}
    wanted = ["experiment", "category", "prediction"]
    try:
        there = pq.read_schema(predictions).names
        if lacking := [name for name in wanted if name not in there]:
            raise DataError(f"{predictions} has no column {lacking[0]!r}; it has {', '.join(map(repr, there))}")
        table = pq.read_table(predictions, columns=wanted)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot read {predictions}: {' '.join(str(error).split())[:200]}") from None
    if any(column.null_count for column in table.columns):
        raise DataError(f"{predictions} holds nulls; every title has experiment, category and prediction")
    texts = {name: table[name].cast(pa.string()).combine_chunks() for name in table.column_names}
    there = set(texts["experiment"].unique().to_pylist())
    if there != set(models):
        odd = sorted(there ^ set(models))[0]
        raise DataError(f"the experiment {odd} is in only one of {predictions} and {metadata}")
    names = pa.concat_arrays([texts["category"], texts["prediction"]]).unique().sort()
    labels, found = (pc.index_in(texts[name], value_set=names).to_numpy() for name in ("category", "prediction"))
    trials = []
    for name in sorted(models):
        own = np.flatnonzero(pc.equal(texts["experiment"], name).to_numpy(zero_copy_only=False))
        trials.append(Trial(name=name, model=models[name], sample=name, labels=labels[own], predictions=found[own]))
    return trials, {name: {"published": each.get("published_balanced_accuracy")} for name, each in known.items()}


def _read_metadata(path: str) -> dict[str, dict[str, Any]]:
    what = "it must be a list of experiments, as JSON, each with experiment and language_model"
    try:
        with open(path, encoding="utf-8") as file:
            listed = json.load(file)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check --metadata") from None
    except ValueError:
        raise DataError(f"{path} is not JSON; {what}") from None
    known: dict[str, dict[str, Any]] = {}
    for number, each in enumerate(listed if isinstance(listed, list) else [None], 1):
        if not isinstance(each, dict) or not {"experiment", "language_model"} <= each.keys():
            raise DataError(f"{path}, entry {number}: {what}")
        if known.setdefault(each["experiment"], each) is not each:
            raise DataError(f"{path} lists the experiment {each['experiment']} twice")
    return known


def read_traits(model: str, dim: int | None = None) -> dict[str, str | None]:
    """Return what a model's name says of it, such as es-dim16-norm; None where it says nothing."""
    language, told = LANGUAGE.search(model.lower()), DIM.search(model)
    return {
        "language": language[1] if language else None,
        "normalized": "yes" if "norm" in model.lower() else "no",
        "dim": str(dim) if dim else told[1] or told[2] if told else None,
    }


def compare_trials(
    trials: Sequence[Trial],
    facts: Mapping[str, Mapping[str, Any]],  # what is known of a trial, by its name: columns of schemas.training.TRIALS
    *,
    draws: int,
    seed: int,
    dims: Mapping[str, int] | None = None,  # numbers of a vector, by the model's name
) -> dict[str, Any]:
    """Return what the trials show: `trials`, `models`, `effects` (lists of rows) and `sentences`."""
    figures = np.array([trial.figure for trial in trials])
    titles = certainty.resample_titles(trials, draws, seed)
    models = {
        name: [place for place, trial in enumerate(trials) if trial.model == name]
        for name in sorted({trial.model for trial in trials})
    }
    repeats = dict(zip(models, certainty.resample_repeats(list(models.values()), draws, seed), strict=True))
    # where every trial has titles of its own, repeats differ by their titles too: drawn as well they would count twice
    own_titles = len({trial.sample for trial in trials}) == len(trials) > 1
    means = {
        name: certainty.means_of(figures if own_titles and len(own) > 1 else titles, repeats[name])
        for name, own in models.items()
    }
    traits = {name: read_traits(name, (dims or {}).get(name)) for name in models}
    effects = find_effects(
        list(traits.values()), list(models.values()), figures, lambda own: means[trials[own[0]].model], draws, seed
    )
    rows = []
    for trial, drawn in zip(trials, titles.T, strict=True):
        low, high = certainty.interval(drawn)
        row: dict[str, Any] = {"trial": trial.name, "model": trial.model, "titles": len(trial.labels)}
        row |= {"classes": len(np.unique(trial.labels)), "accuracy": float(np.mean(trial.labels == trial.predictions))}
        row |= {"balanced_accuracy": float(trial.figure), "low": low, "high": high}
        row |= dict.fromkeys(("published", "epochs", "seconds", "peak_bytes"))
        rows.append({**row, **facts.get(trial.name, {})})
    comparison = {
        "draws": draws,
        "seed": seed,
        "trials": rows,
        "models": _rank_models(models, traits, figures, titles, repeats, means),
        "effects": effects,
        "own_titles": own_titles,
    }
    return {**comparison, "sentences": write_sentences(comparison)}


def _rank_models(
    models: Mapping[str, Sequence[int]],
    traits: Mapping[str, Mapping[str, str | None]],
    figures: np.ndarray,
    titles: np.ndarray,
    repeats: Mapping[str, np.ndarray],
    means: Mapping[str, np.ndarray],
) -> list[dict[str, Any]]:
    """Return a row for each model, the best first."""
    averages = {name: float(figures[own].mean()) for name, own in models.items()}
    best = max(averages, key=lambda name: averages[name])
    # as many comparisons with the best as there are other models
    level = 1 - (1 - certainty.LEVEL) / max(1, len(averages) - 1)
    rows: list[dict[str, Any]] = []
    for name, own in models.items():
        several = len(own) > 1
        by_repeats = certainty.interval(certainty.means_of(figures, repeats[name])) if several else (None, None)
        by_titles = certainty.interval(titles[:, own].mean(1))
        low, high = certainty.interval(means[name])
        behind = (0.0, 0.0) if name == best else certainty.interval(means[best] - means[name], level)
        row: dict[str, Any] = {"model": name, **traits[name], "repeats": len(own), "balanced_accuracy": averages[name]}
        row["deviation"] = float(figures[own].std(ddof=1)) if several else None
        row |= {"low_titles": by_titles[0], "high_titles": by_titles[1]}
        row |= {"low_repeats": by_repeats[0], "high_repeats": by_repeats[1], "low": low, "high": high}
        row |= {"below_best": averages[best] - averages[name]}
        rows.append(row | {"below_best_low": behind[0], "below_best_high": behind[1]})
    return sorted(rows, key=lambda row: (-row["balanced_accuracy"], row["model"]))


def find_effects(
    traits: Sequence[dict[str, str | None]],
    members: Sequence[Sequence[int]],
    figures: np.ndarray,
    drawn: Callable[[Sequence[int]], np.ndarray],
    draws: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Return rows of EFFECTS, and `least_p`, for each factor that a pair of models shows; see `measure_effect`."""
    effects: list[dict[str, Any]] = []
    sizes = sorted({each["dim"] for each in traits if each["dim"]}, key=int, reverse=True)
    questions = [(factor, *sides) for factor, sides in FACTORS.items()]
    questions += [("dim", one, other) for one, other in itertools.pairwise(sizes)]
    for factor, one, other in questions:
        strata = [(members[left], members[right]) for left, right in certainty.find_strata(traits, factor, one, other)]
        if strata:
            difference, (low, high), p = certainty.measure_effect(strata, figures, drawn, draws, seed)
            if difference < 0:
                difference, low, high, one, other = -difference, -high, -low, other, one
            counts = [(len(left), len(right)) for left, right in strata]
            effect = {"factor": factor, "high": one, "low": other, "difference": difference}
            effect |= {"low_bound": low, "high_bound": high, "p": p, "least_p": certainty.least_chance(counts)}
            effects.append({**effect, "strata": len(strata), "trials": sum(map(sum, counts))})
    corrected = certainty.correct_by_holm([each["p"] for each in effects])
    return [{**effect, "holm": p} for effect, p in zip(effects, corrected, strict=True)]


ASKED = {"language": "language", "normalized": "normalization", "dim": "dimensions"}
WORDS = {
    ("language", "es"): "Spanish models",
    ("language", "en"): "English models",
    ("normalized", "yes"): "models with normalization",
    ("normalized", "no"): "models without normalization",
}


def write_sentences(comparison: Mapping[str, Any]) -> list[str]:
    """Return what was found in plain sentences: what is significant at 5 %, and what is not."""
    told = []
    questions = len(comparison["effects"])
    corrected = f" corrected for {questions} questions" if questions > 1 else ""
    for effect in comparison["effects"]:
        high, low = (
            WORDS.get((effect["factor"], effect[side]), f"models of {effect[side]} dimensions")
            for side in ("high", "low")
        )
        crosses = effect["low_bound"] <= 0
        chance = f"{effect['holm']:.4f}" if effect["holm"] >= 0.001 else f"{effect['holm']:.1g}"
        verdict = "significant" if effect["holm"] < 0.05 else "not significant"
        if crosses != (effect["holm"] >= 0.05):
            verdict += f" by the test, though the interval {'holds' if crosses else 'leaves out'} zero: a close call"
        told.append(
            f"{high[0].upper()}{high[1:]} score {effect['difference']:+.4f} above {low}, all else equal (95 % "
            f"interval {effect['low_bound']:+.4f} to {effect['high_bound']:+.4f}, "
            f"p = {chance}{corrected}): {verdict}."
        )
        if effect["least_p"] > 0.05:
            told.append(
                f"Of {ASKED[effect['factor']]} no p-value below {effect['least_p']:.2g} can come from so few trials, "
                "whatever they show; more --repeats can say more."
            )
    best, others = comparison["models"][0], comparison["models"][1:]
    if others:
        apart = [row["model"] for row in others if row["below_best_low"] > 0]
        close = [row["model"] for row in others if row["below_best_low"] <= 0]
        text = f"The best model is {best['model']} with {best['balanced_accuracy']:.4f}"
        if close:
            text += f"; not told apart from it: {', '.join(close)}"
        told.append(f"{text}; below it, at 95 %: {', '.join(apart)}." if apart else f"{text}.")
    asked = {effect["factor"] for effect in comparison["effects"]}
    if others and (missing := [word for factor, word in ASKED.items() if factor not in asked]):
        named = ", ".join(missing[:-1]) + " or " * (len(missing) > 1) + missing[-1]
        told.append(f"Nothing can be said of {named}: by their names no two models differ in that alone.")
    if any(row["repeats"] < 2 for row in comparison["models"]):
        told.append("A model with one trial shows nothing of how repeats vary: its interval is of titles alone.")
    return told
