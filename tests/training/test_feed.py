import numpy as np
import pytest

from molino.training.reader import Reader
from molino.training.runs import open_run

pytestmark = pytest.mark.slow  # Keras takes seconds to load


@pytest.fixture
def reader(run_folder):
    data = open_run(run_folder, {"rows": ("made.rows", 1)}, cache=None).datasets["rows"]
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
