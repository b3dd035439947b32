"""Write a classifier as a SavedModel that takes raw titles: embedding, classifier and label vocabulary in one.

TensorFlow alone serves it, whatever backend trained. Where TensorFlow is not there, nothing is written.
"""

import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from molino.quiet import no_stderr
from molino.schemas.training import TOP
from molino.training.classifier import Learner
from molino.training.reader import Reading
from molino.training.recipe import PHRASES
from molino.training.source import FLAG, FLAGS, TitlesRun, Training
from molino.transforms.errors import DataError

Learners = Mapping[str | None, Learner]  # that of all titles under None; those of a language, which its titles get
Encoders = Mapping[str, Any]  # models of embeddings, by name
Temperatures = Mapping[str | None, float]  # of the calibrated probabilities of each learner; none without
TRANSFORM = "transform/"  # how the paths of the label vocabulary's graph begin, among the views of a run
EXTRA = "assets.extra"
PROBES = 64  # titles by which a model is compared with the run's vectors
NEAR = {"float": 1e-4, "halffloat": 2e-2}  # how far vectors may be apart, of their norm, by their type in the run


def open_encoders(source: TitlesRun, folders: Mapping[str, str]) -> dict[str, Any]:
    """Return the embeddings' models by name; raise DataError where one gives other vectors than the run has."""
    if not folders:
        return {}
    with no_stderr():
        import tensorflow as tf
    batch = _read_probes(source, ["title", *folders])
    titles = tf.constant(batch["title"].to_numpy(zero_copy_only=False), tf.string)
    encoders = {}
    for name, folder in folders.items():
        near = NEAR.get(str(source.titles.schema.field(name).type.value_type), NEAR["float"])
        try:
            found = next((each for each in _encoders(folder) if _gives(each, titles, batch[name], near)), None)
        except Exception as error:
            cause = " ".join(str(error).split())[:200]
            raise DataError(f"--model {name}: {folder} cannot be loaded as a model: {cause}") from None
        if found is None:
            raise DataError(f"--model {name}: {folder} gives other vectors than the run has; name its own")
        encoders[name] = found
    return encoders


def _read_probes(source: TitlesRun, columns: Sequence[str]) -> dict[str, Any]:
    return next(source.read("train", columns, shuffle=False, batch=PROBES, reading=Reading(ahead=0)).epoch())


def _encoders(folder: str) -> Iterator[Any]:
    """Yield what a SavedModel has that may give vectors: its own call, or outputs of its signatures of one input."""
    import tensorflow as tf

    loaded = tf.saved_model.load(folder)
    if callable(loaded):
        yield loaded

    class Output(tf.Module):
        def __init__(self, signature: Any, key: str) -> None:
            super().__init__()
            self.loaded, self.signature, self.key = loaded, signature, key

        def __call__(self, titles: Any) -> Any:
            return self.signature(**{next(iter(self.signature.structured_input_signature[1])): titles})[self.key]

    for _, signature in sorted(loaded.signatures.items()):
        if [each.dtype for each in signature.structured_input_signature[1].values()] == [tf.string]:
            for key in sorted(signature.structured_outputs):
                yield Output(signature, key)


def _gives(encoder: Any, titles: Any, wanted: np.ndarray, near: float) -> bool:
    given = encoder(titles)
    if isinstance(given, dict) or given.shape != wanted.shape:
        return False
    far = np.linalg.norm(given.numpy() - wanted, axis=1)
    return not (far > near * np.maximum(np.linalg.norm(wanted, axis=1), 1e-3)).any()


def read_tables(source: TitlesRun, encoders: Encoders, embeddings: Sequence[str]) -> dict[str, np.ndarray]:
    """Return every embedding's table, (rows, dim) float32; raise DataError where the run's tokens do not fit it."""
    if missing := [name for name in embeddings if f"{name}_tokens" not in source.titles.schema.names]:
        raise DataError(
            f"{source.run.folder} has no tokens of {missing[0]}, which --fine-tune needs; make it with --write-tokens"
        )
    columns = [each for name in embeddings for each in (name, f"{name}_tokens", f"{name}_length")]
    batch = _read_probes(source, columns)
    tables = {}
    for name in embeddings:
        tables[name] = encoders[name].variables[0].numpy()
        ids, lengths = batch[f"{name}_tokens"], batch[f"{name}_length"]
        summed = (tables[name][np.maximum(ids, 0)] * (ids >= 0)[:, :, None]).sum(1) / np.sqrt(lengths)[:, None]
        whole = lengths <= ids.shape[1]
        if not np.allclose(summed[whole], batch[name][whole], atol=2e-2):
            raise DataError(f"the tokens of {name} do not give its vectors: the run was made with another model")
    return tables


def write(folder: str, training: Training, learners: Learners, encoders: Encoders, temperatures: Temperatures) -> str:
    """Write the SavedModel, and return what the user is told of it.

    Its signatures: `serving_default` takes `title`, strings (n,), and gives `label` (n,) int32 and `category` (n,)
    strings, and `labels`, `categories` and `scores` (n, up to 5), the highest score first, with `probabilities` where
    they are known; `with_language` takes `language` too; `features` gives what the Keras model of `phrases` takes;
    `number` gives the label of a `category`, as the run's own transform graph does, -1 for others. That graph stands in
    `assets.extra/transform`, where a SavedModel keeps what is its user's.
    """
    if training.recipe.architecture != PHRASES and not encoders:
        return "not written: it needs the embedding; name it by --model NAME=DIR"
    try:
        import tensorflow as tf
    except ImportError:
        return "not written: TensorFlow is not there"
    source = training.source
    with no_stderr():
        for layer in learners[None].model.layers:
            if isinstance(layer, keras.layers.Embedding):  # a table that was trained too
                encoders[layer.name.removesuffix("_vectors")].variables[0].assign(layer.weights[0].numpy())
        module = _module(training, learners, encoders, temperatures)
        title = tf.TensorSpec([None], tf.string, name="title")
        language = tf.TensorSpec([None], tf.string, name="language")
        category = tf.TensorSpec([None], tf.string, name="category")
        signatures = {
            "serving_default": tf.function(module.serve).get_concrete_function(title),
            "with_language": tf.function(module.serve).get_concrete_function(title, language),
            "number": tf.function(module.number).get_concrete_function(category),
        }
        for name, classifier in module.classifiers.items():
            if hasattr(classifier, "features"):
                function = tf.function(classifier.features).get_concrete_function(title)
                signatures[f"features{'_' + name if name else ''}"] = function
        tf.saved_model.save(module, folder, signatures=signatures)
    for view in source.run.manifest["views"]:
        if view["path"].startswith(TRANSFORM):
            path = os.path.join(folder, EXTRA, view["path"])
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(source.run.view(view["path"]))
    return os.path.basename(folder)


def save_keras(folder: str, source: TitlesRun, learners: Learners) -> None:
    """Write the Keras models, with the run's manifest digest and the categories inside, in `molino.json`."""
    for language, learner in learners.items():
        path = os.path.join(folder, f"model{f'-{language}' if language else ''}.keras")
        learner.plain_model().save(path)
        with zipfile.ZipFile(path, "a") as archive:
            inside = {"manifest_sha256": source.run.sha256, "categories": source.categories}
            archive.writestr("molino.json", json.dumps(inside, ensure_ascii=False))


def _module(training: Training, learners: Learners, encoders: Encoders, temperatures: Temperatures) -> Any:
    import tensorflow as tf

    source, balance = training.source, training.recipe.balance
    # of the logits: the shares are taken away for the scores, or added for probabilities
    away = source.prior() if balance == "logits" else 0 * source.prior()
    added = source.prior() if balance == "loss" else 0 * source.prior()
    top = min(TOP, len(source.categories))

    class Serving(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoders = dict(encoders)
            names = tf.lookup.KeyValueTensorInitializer(
                source.categories, tf.range(len(source.categories), dtype=tf.int64)
            )
            self.numbers = tf.lookup.StaticHashTable(names, -1)
            self.categories = tf.constant(source.categories)
            self.away, self.added = tf.constant(away), tf.constant(added)
            self.classifiers = {name or "": _classifier(learner) for name, learner in learners.items()}

        def logits(self, titles: Any, languages: Any) -> tuple[Any, Any]:
            vectors = [self.encoders[name](titles) for name in encoders]
            found = self.classifiers[""](titles, vectors, languages)
            heat = tf.fill((tf.shape(titles)[0], 1), np.float32(temperatures.get(None, 1)))
            for name, classifier in self.classifiers.items():
                if name:
                    own = tf.equal(languages, name)[:, None]
                    found = tf.where(own, classifier(titles, vectors, languages), found)
                    heat = tf.where(own, np.float32(temperatures.get(name, 1)), heat)
            return found, heat

        def serve(self, title: Any, language: Any = None) -> dict[str, Any]:
            logits, heat = self.logits(title, tf.fill(tf.shape(title), "") if language is None else language)
            scores, labels = tf.math.top_k(tf.nn.softmax(logits - self.away), top)
            names = tf.gather(self.categories, labels)
            found = {"label": labels[:, 0], "category": names[:, 0]}
            found |= {"labels": labels, "categories": names, "scores": scores}
            if temperatures or balance == "none":
                probabilities = tf.nn.softmax((logits + self.added) / heat)
                found["probabilities"] = tf.gather(probabilities, labels, batch_dims=1)
            return found

        def number(self, category: Any) -> dict[str, Any]:
            return {"label": self.numbers.lookup(category)}

    return Serving()


def _classifier(learner: Learner) -> Any:
    """Return a tf.Module that gives the logits of a learner's model, with weights of its own."""
    import tensorflow as tf

    if learner.model.name == "phrases":

        class Phrases(tf.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = learner.model

            def __call__(self, titles: Any, vectors: Any, languages: Any) -> Any:
                return self.model(titles, training=False)

            def features(self, title: Any) -> Any:
                return self.model.get_layer("phrases").features(title)

        return Phrases()

    flag = FLAG in [each.name for each in learner.model.inputs]

    class Layers(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = [layer for layer in learner.model.layers if isinstance(layer, keras.layers.Dense)]
            self.dense = [(tf.Variable(each.kernel.numpy()), tf.Variable(each.bias.numpy())) for each in layers]

        def __call__(self, titles: Any, vectors: Any, languages: Any) -> Any:
            made = tf.concat(vectors, 1)
            for kernel, bias in self.dense[:-1]:
                made = tf.nn.relu(tf.matmul(made, kernel) + bias)
            if flag:
                flags = tf.fill(tf.shape(languages), 0.5)
                for name, value in FLAGS.items():
                    flags = tf.where(tf.equal(tf.strings.lower(languages), name), value, flags)
                made = tf.concat([made, flags[:, None]], 1)
            kernel, bias = self.dense[-1]
            return tf.matmul(made, kernel) + bias

    return Layers()
