import numpy as np
import pytest

from molino.training.reader import Reader, Reading
from molino.training.runs import open_run

pytestmark = pytest.mark.slow  # Keras takes seconds to load


@pytest.fixture
def reader(run_folder):
    data = open_run(run_folder, {"rows": ("made.rows", 1)}).datasets["rows"]
    return Reader(data, ["id", "wide", "half", "label"], split="train", batch=8)


def test_batches_can_be_asked_for_in_any_order(reader):
    from molino.training.feed import KerasBatches

    batches = KerasBatches(reader, ["wide"])
    expected = [(batch["wide"], batch["label"]) for batch in reader.epoch(0)]
    for number in [0, 1, 2, 5, 4, 0, *range(len(batches))]:
        for found, wanted in zip(batches[number], expected[number], strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_each_pass_is_the_next_epoch(reader):
    from molino.training.feed import KerasBatches

    batches = KerasBatches(reader, ["id"], None, epoch=3)
    for epoch in (3, 4):
        batches.on_epoch_begin()
        expected = [batch["id"].tolist() for batch in reader.epoch(epoch)]
        assert [batches[number].tolist() for number in range(len(batches))] == expected


def test_keras_sees_every_row_once_an_epoch(reader):
    import keras

    from molino.training.feed import KerasBatches

    seen = []

    class Spy(keras.Model):
        def train_step(self, batch):
            (wide, half), label = (batch[0], batch[1])
            assert wide.shape[0] == half.shape[0] == label.shape[0]
            seen.extend(keras.ops.convert_to_numpy(wide)[:, 0].tolist())
            return {"loss": 0.0}

    model = Spy()
    model.compile(run_eagerly=True)
    history = model.fit(KerasBatches(reader, ["wide", "half"]), epochs=2, shuffle=False, verbose=0)
    assert len(history.history["loss"]) == 2
    assert seen == [number for epoch in (0, 1) for batch in reader.epoch(epoch) for number in batch["id"].tolist()]


def test_keras_gets_crops_with_their_labels(tmp_path):
    """Of rows that have both; the labels may be prepared from any column."""
    from molino.training.feed import KerasBatches
    from tests.training.test_reader import make_crops, open_crops

    table, pixels = make_crops(range(40), without={1, 2}, unlabelled={3})
    reader = Reader(open_crops(tmp_path, table), ["pixels", "label", "key"], batch=8, reading=Reading(drop_nulls=True))
    ready = KerasBatches(reader, ["pixels"])
    seen = []
    for number in range(len(ready)):
        crops, labels = ready[number]
        np.testing.assert_array_equal(crops, pixels[labels])
        seen += labels.tolist()
    assert sorted(seen) == sorted(set(range(40)) - {1, 2, 3})
    import keras

    model = keras.Sequential([keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(40)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert np.isfinite(model.fit(ready, shuffle=False, verbose=0).history["loss"]).all()
