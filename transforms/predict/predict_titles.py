"""Predict the categories of titles with a classifier that training saved."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa

from molino import caches
from molino.schemas.predict import PREDICTED
from molino.transforms import progress
from molino.transforms.errors import DataError
from molino.transforms.files import storage
from molino.transforms.models import model_files
from molino.transforms.models.embed import ask_of_models, code_mark
from molino.transforms.models.finite import COUNTER, REASON
from molino.transforms.parquet.shards import Layout, StagedFile, write_if_any
from molino.transforms.predict.report import Tally, sum_tallies, tally_predictions
from molino.transforms.rows.batches import Counters
from molino.transforms.rows.partition import Parts
from molino.transforms.text.lines import reject_titles
from molino.transforms.text.position import POSITION, LineTable, locate_sightings
from molino.transforms.text.sources import KEPT
from molino.transforms.warnings import Sighting, add_sightings

SERVING = "serving"  # where `molino train titles` puts the classifier, in its output
Classifier = model_files.PlannedFiles
AT_ONCE = 4096  # titles that the classifier gets in one call, and rows of a row group
CLASSIFIER = f"{COUNTER}the classifier"
RUN_LINES = 12  # bits of the lines that stay together
FACTOR = np.uint64(0x9E3779B97F4A7C15)


def plan_classifier(location: str, *, sha256: str | None = None, trust: bool = False) -> Classifier:
    """Find a classifier and check it: once a machine, which takes seconds. Call it before the pipeline.

    `location`: output of `molino train titles`, or folder or archive of a SavedModel. `sha256`: digest that it must
    have. `trust`: take one whose operations can touch files or the network. Raises DataError where it is not there, is
    another one, cannot be loaded, or is not to be trusted.
    """
    inside = storage.join(location, SERVING)
    served = storage.exists(storage.join(inside, model_files.SAVED_MODEL))
    if not served and storage.exists(storage.join(location, "metrics.json")):
        raise DataError(
            f"{location} holds a classifier without {SERVING}/, or a language model; name the output of molino train "
            "titles with --model NAME=DIR for each embedding"
        )
    if served:
        model_files.check_run(location, f"{SERVING}/")
    folder = model_files.find_model(inside if served else location)
    digest = model_files.digest_model(folder)
    model_files.check_digest(location, digest, sha256)
    kept = caches.cache_folder("classifiers", f"{digest}-{code_mark()}{'-trusted' if trust else ''}")
    if not (kept and os.path.exists(kept)):
        ask_of_models("examine_classifier", [{"folder": folder, "label": location, "trust": trust}])
        with contextlib.suppress(DataError):  # where it cannot be noted it is checked again
            if kept:
                storage.write_bytes(kept, b"")
    return Classifier(location=location, path=folder, digest=digest)


def open_classifier(classifier: Classifier) -> Any:
    """Return this process's call of a classifier, loaded once; raise DataError where it is not here or was changed."""
    from molino.transforms.models.saved_model import load_classifier

    return model_files.open_once(classifier, lambda one: load_classifier(one.checked(), one.location))


def spread(rows: pa.RecordBatch) -> pa.Array:
    """Return what the rows' blocks follow from, uint64: runs of lines stay together."""
    runs = rows[POSITION].to_numpy().astype(np.uint64) >> np.uint64(RUN_LINES)
    mixed = (runs + np.uint64(1)) * FACTOR
    return pa.array((mixed ^ (mixed >> np.uint64(29))) * FACTOR)


def predict_titles(
    rows: pa.RecordBatch, classifier: Classifier, lines: LineTable, not_finite: str, schema: pa.Schema = PREDICTED
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Return titles with their likeliest categories, and those whose numbers are not finite.

    `rows`: `title`, `language` (an empty one is none) and position. `not_finite`: "reject" leaves the others out of the
    first; "zero" and "keep" do so with their numbers. `schema`: of the first: PREDICTED, and the columns that are
    carried.
    """
    call = open_classifier(classifier)
    languages = rows["language"].fill_null("") if "language" in rows.schema.names else pa.array([""] * rows.num_rows)
    names, *numbers = call(rows["title"].to_numpy(zero_copy_only=False), languages.to_numpy(zero_copy_only=False))
    good = np.logical_and.reduce([np.isfinite(each).all(axis=1) for each in numbers if each is not None])
    odd = rows.filter(pa.array(~good))
    if odd.num_rows and not_finite == "reject":
        rows, names = rows.filter(pa.array(good)), names[good]
        numbers = [each if each is None else each[good] for each in numbers]
    elif not_finite == "zero":
        numbers = [each if each is None else np.where(good[:, None], each, np.float32(0)) for each in numbers]
    sources, places = lines.locate(rows[POSITION])
    ends = pa.array(np.arange(0, names.size + 1, names.shape[1], dtype=np.int32))
    texts = pa.array(names.ravel(), pa.binary()).cast(pa.string())
    of = PREDICTED.field("top_scores").type
    scores, chances = (
        pa.nulls(len(names), of) if each is None else pa.ListArray.from_arrays(ends, each.ravel(), type=of)
        for each in numbers
    )
    top = pa.ListArray.from_arrays(ends, texts, type=PREDICTED.field("top_categories").type)
    records = lines.records(rows[POSITION])
    columns = [sources, places, rows["title"], texts.take(ends[:-1]), top, chances, records, scores]
    columns += [rows[KEPT + name] for name in schema.names[len(columns) :]]
    return pa.RecordBatch.from_arrays(columns, schema=schema), odd


class PredictedTitles(NamedTuple):
    """What `predict_parts` gives: staged files of predictions, what the report shows, raw rejects, and counters."""

    files: beam.PCollection[StagedFile]
    tallies: beam.PCollection[Tally]
    rejects: beam.PCollection[pa.RecordBatch]
    counters: beam.PCollection[Counters]


def predict_parts(
    parts: Parts,
    *,
    lines: LineTable,
    classifier: Classifier,
    folder: str,  # the run's staging folder
    not_finite: str = "reject",
    schema: pa.Schema = PREDICTED,
) -> Iterator[object]:
    """Predict the category of every title and write a shard. Memory: the rows of one block, and the classifier."""
    counters: dict[str, int] = {"predictions": 0}
    rejects: list[pa.RecordBatch] = []
    tallies: list[Tally] = []

    def batches() -> Iterator[pa.RecordBatch]:
        for rows in parts:
            # from the start of a block: a title's probabilities are the same to the last bit however it was carried
            for start in range(0, rows.num_rows, AT_ONCE):
                made, odd = predict_titles(rows.slice(start, AT_ONCE), classifier, lines, not_finite, schema)
                counters["predictions"] += made.num_rows
                if odd.num_rows and not_finite == "reject":
                    rejects.append(reject_titles(odd, REASON))
                elif odd.num_rows:
                    seen = Sighting(odd.num_rows, min(odd[POSITION].to_pylist()))
                    counters[CLASSIFIER] = add_sightings(counters.get(CLASSIFIER, 0), seen)
                if made.num_rows:
                    tallies.append(tally_predictions(made))
                    yield made
            progress.report("write", rows=rows.num_rows)

    layout = Layout(plain=["line", "title"], encodings={"record": "DELTA_BINARY_PACKED"})
    place: dict[str, Any] = {"folder": folder, "dataset": "predictions", "key": (parts.shard,)}
    yield from write_if_any(batches(), schema=schema, layout=layout, **place)
    for batch in rejects:
        yield beam.pvalue.TaggedOutput("rejects", batch)
    yield beam.pvalue.TaggedOutput("tallies", sum_tallies(tallies))
    yield beam.pvalue.TaggedOutput("counters", locate_sightings(counters, lines))
