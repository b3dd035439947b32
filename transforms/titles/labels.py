"""Number the categories: a vocabulary by tensorflow-transform, and the graph that serving applies.

All of tensorflow-transform is here.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import io
import json
import os
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from molino import caches
from molino.schemas.titles import LABELS
from molino.transforms.errors import DataError
from molino.transforms.files import storage
from molino.transforms.models.tensorflow_process import ask_tensorflow, start_tensorflow, stop_tensorflow
from molino.transforms.parquet.shards import StagedFile, write_if_any, write_view
from molino.transforms.rows.batches import Counters
from molino.transforms.titles.keys import SPLITS
from molino.transforms.titles.merge import sum_category_counts
from molino.transforms.warnings import DataWarning, example_of

GRAPH = "transform"  # the graph's folder in the output
FEATURE, LABEL, VOCABULARY = "category", "label", "labels"  # names in the graph
ASSET = f"{GRAPH}/transform_fn/assets/{VOCABULARY}"
PACKAGES = ("tensorflow", "tensorflow-transform", "tfx-bsl", "apache-beam", "protobuf", "numpy", "pyarrow")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labels:
    """The numbers of categories."""

    categories: pa.Array  # in the order of their labels
    table: pa.Table  # of schemas.titles.LABELS

    @property
    def titles(self) -> int:
        """Titles in all splits."""
        return sum(pc.sum(self.table[split]).as_py() or 0 for split in SPLITS)

    def number(self, categories: pa.DictionaryArray) -> pa.Array:
        """Return the label of every category, int32; -1 for null and for what training has not."""
        labels = pc.index_in(categories.dictionary, value_set=self.categories).fill_null(-1).cast(pa.int32())
        return labels.take(categories.indices).fill_null(-1)


def number_categories(tables: Sequence[pa.Table]) -> Labels:
    """Return the labels that titles give their categories, counted in tables of COUNTS.

    In the order of tensorflow-transform's vocabularies: most titles in training first; of equals the one whose UTF-8
    comes last. The table ends with the categories that training has no title of, in the order of their UTF-8, and null.
    """
    rows: dict[str | None, list[int]] = {}
    for row in sum_category_counts(tables).to_pylist():
        rows.setdefault(row["category"], [0, 0, 0])[row["split"]] += row["titles"]
    known = [category for category in rows if category is not None]
    trained = sorted(
        (category for category in known if rows[category][0]),
        key=lambda category: (rows[category][0], category.encode()),
        reverse=True,
    )
    others: list[str | None] = [*sorted((c for c in known if not rows[c][0]), key=str.encode)]
    listed = [*trained, *others, *([None] if None in rows else [])]
    labels = [*range(len(trained)), *[-1] * (len(listed) - len(trained))]
    columns = [labels, listed, *([rows[c][i] for c in listed] for i in range(len(SPLITS)))]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, LABELS, strict=True)]
    return Labels(categories=pa.array(trained, pa.string()), table=pa.Table.from_arrays(arrays, schema=LABELS))


def warn_of_labels(counters: Mapping[str, int]) -> list[DataWarning]:
    """Return what is doubtful: training has titles of fewer than two categories, or a title has several splits."""
    found = []
    if contradicted := counters.get("split.contradicted", 0):
        text = f"rows whose split is not that of the first row with their title and category: {contradicted:,}"
        remedy = "the first one counts; give the copies of a title one split"
        example = example_of(counters, "split.contradicted")
        found.append(DataWarning("split.contradicted", text, contradicted, example, remedy))
    unlabeled = counters.get("unlabeled", 0)
    known = counters.get("labels", 0) - counters.get("unseen_categories", 0) - bool(unlabeled)
    labeled = counters.get("titles", 0) - unlabeled
    if known > 1 or not labeled:
        return found
    text = f"{labeled:,} titles have a category, and those of training {'one and the same' if known else 'none'}"
    remedy = "a classifier has nothing to tell apart; is --category-column right?"
    return [*found, DataWarning("labels.few", text, labeled, remedy=remedy)]


def make_graph(labels: Labels) -> dict[str, bytes]:
    """Return the files of a graph from category to label, by path, which tft.TFTransformOutput loads.

    Its vocabulary is the categories in the order of their labels; all else follows from how many there are, the
    packages and this module. So that is made once a machine, by tensorflow-transform, and kept in the cache. The same
    labels give the same bytes. Raises DataError where tensorflow-transform is not there, fails, or numbers the
    categories in another way.
    """
    vocabulary = "".join(f"{category}\n" for category in labels.categories.to_pylist()).encode()
    kept = _graph_cache(len(labels.categories))
    files = _read_graph(kept)
    if files is None:
        files = _run_transform(labels)
        if files.pop(ASSET) != vocabulary:
            raise DataError(
                "tensorflow-transform numbers the categories in another way than this program; nothing was published; "
                "report this"
            )
        if kept:  # for the next run, with its sha256 before it; where that fails it is made anew
            held = io.BytesIO()
            with zipfile.ZipFile(held, "w") as archive:
                for name, data in files.items():
                    archive.writestr(name, data)
            with contextlib.suppress(DataError):
                storage.write_atomic(kept, hashlib.sha256(held.getvalue()).digest() + held.getvalue())
    stop_tensorflow()  # what a plan may have kept
    return dict(sorted({**files, ASSET: vocabulary}.items()))


def start_ahead() -> None:
    """Have the process that makes the graph import what it needs while titles are read, where no graph is kept yet."""
    folder = caches.cache_folder("graphs")
    if not (folder and os.path.isdir(folder)):
        start_tensorflow()


def _run_transform(labels: Labels) -> dict[str, bytes]:
    """Return what tensorflow-transform makes of the categories, weighed by their titles: the same as of all titles."""
    trained = labels.table.slice(0, len(labels.categories))
    given = {"categories": trained["category"].to_pylist(), "weights": trained["train"].to_pylist()}
    with tempfile.TemporaryDirectory(prefix="molino-") as folder:
        ask_tensorflow(f"{__name__}:write_graph", [{**given, "folder": folder}], doing="numbered the categories")
        out = Path(folder, GRAPH)
        return {str(path.relative_to(folder)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def _graph_cache(count: int) -> str:
    """Return the file that keeps the graph of so many labels; "" where there is no cache, or a package is not here."""
    folder = caches.cache_folder("graphs")
    try:
        facts = [count, *(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)]
    except importlib.metadata.PackageNotFoundError:
        return ""
    key = hashlib.sha256(json.dumps(facts).encode() + Path(__file__).read_bytes()).hexdigest()
    return os.path.join(folder, f"{key}.zip") if folder else ""


def _read_graph(path: str) -> dict[str, bytes] | None:
    """Return what was kept; None where there is nothing, or it is damaged."""
    data = b""
    with contextlib.suppress(DataError):
        data = storage.see(path).data or b"" if path else b""
    if hashlib.sha256(data[32:]).digest() != data[:32]:
        return None
    with zipfile.ZipFile(io.BytesIO(data[32:])) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_graph(categories: Sequence[str], weights: Sequence[float], folder: str) -> None:
    """Write the graph for the categories and weights to the folder `transform` of a folder.

    Raises DataError: tensorflow-transform is not there.
    """
    try:
        import tensorflow_transform  # noqa: F401
    except ImportError as error:
        raise DataError(f"labels need {error}; pip install -r requirements/tensorflow.txt") from None
    with contextlib.chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analyze(categories, weights, GRAPH)
        _settle(Path(GRAPH))


def analyze(categories: Sequence[str], weights: Sequence[float] | None, folder: str) -> None:
    """Write the graph of a vocabulary of categories; relative paths alone: temporary files are named in the graph."""
    import tensorflow as tf
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils
    from tfx_bsl.tfxio import tensor_adapter, tensor_representation_util

    def number(inputs: dict[str, Any]) -> dict[str, Any]:
        vocabulary = tft.vocabulary(inputs[FEATURE], weights=inputs.get("titles"), vocab_filename=VOCABULARY)
        return {LABEL: tft.apply_vocabulary(inputs[FEATURE], vocabulary, default_value=-1)}

    spec = {FEATURE: tf.io.FixedLenFeature([], tf.string)}
    columns = {FEATURE: pa.array([[category.encode()] for category in categories], pa.list_(pa.binary()))}
    raw = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(spec))
    if weights is not None:
        spec["titles"] = tf.io.FixedLenFeature([], tf.float32)
        columns["titles"] = pa.array([[weight] for weight in weights], pa.list_(pa.float32()))
    batch = pa.record_batch(columns)
    representations = tensor_representation_util.InferTensorRepresentationsFromSchema(
        schema_utils.schema_from_feature_spec(spec)
    )
    config = tensor_adapter.TensorAdapterConfig(batch.schema, representations)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline, tft_beam.Context(temp_dir="work"):
        function = (pipeline | beam.Create([batch]), config) | tft_beam.AnalyzeDataset(number)
        _ = function | tft_beam.WriteTransformFn(folder)
        # what serving must give is the category alone: the weights have had their effect
        _ = raw | tft_beam.WriteMetadata(f"{folder}/{tft.TFTransformOutput.RAW_METADATA_DIR}", pipeline)


def _settle(folder: Path) -> None:
    """Give the graph bytes that depend on it alone: maps in order, and no random number for a name."""
    from tensorflow.core.protobuf import fingerprint_pb2, saved_model_pb2

    for path, message, clear in (
        (folder / "transform_fn/saved_model.pb", saved_model_pb2.SavedModel(), ""),
        (folder / "transform_fn/fingerprint.pb", fingerprint_pb2.FingerprintDef(), "uuid"),
    ):
        message.ParseFromString(path.read_bytes())
        if clear:
            message.ClearField(clear)
        path.write_bytes(message.SerializeToString(deterministic=True))


class WrittenLabels(NamedTuple):
    """What `write_labels` gives: the staged table and transform graph, and what they count."""

    files: beam.PCollection[StagedFile]
    counters: beam.PCollection[Counters]


def write_labels(labels: Labels, *, folder: str) -> Iterator[object]:
    """Write the table of labels, and the graph from category to label, to the staging folder of a run."""
    batches = labels.table.combine_chunks().to_batches()
    yield from write_if_any(batches, schema=LABELS, folder=folder, dataset="labels", key=(0,))
    if len(labels.categories):
        for name, data in make_graph(labels).items():
            yield write_view(data, folder=folder, name=name)
    yield beam.pvalue.TaggedOutput("counters", count_labels(labels))


def count_labels(labels: Labels) -> dict[str, int]:
    """Return rows of the table, titles by split, and titles and categories that have no label."""
    table = labels.table
    unseen = table.filter(pc.and_(pc.equal(table["label"], -1), table["category"].is_valid()))
    unlabeled = table.filter(table["category"].is_null())
    counted = {
        "labels": len(table),
        "unseen_categories": len(unseen),
        "unseen": sum(pc.sum(unseen[split]).as_py() or 0 for split in SPLITS),
        "unlabeled": sum(pc.sum(unlabeled[split]).as_py() or 0 for split in SPLITS),
    }
    return counted | {f"split.{split}": pc.sum(table[split]).as_py() or 0 for split in SPLITS}
