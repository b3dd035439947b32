"""Give a reader's batches to Keras, whatever its backend."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from molino.training.reader import Batch, Reader


class KerasBatches(keras.utils.PyDataset):
    """Batches for `fit`, `evaluate` and `predict`: `(x, y)`, or `x` alone where there are no labels.

    `x` is the array of the first input, or a tuple of arrays where there are several. Each pass over it is the
    reader's next epoch. Give `shuffle=False` to `fit`: the reader has shuffled, and batches are read in order. Any
    other order is right too, but slow.
    """

    def __init__(
        self,
        reader: Reader,
        inputs: Sequence[str],  # columns of the model's inputs, in order
        label: str | None = "label",  # column of the labels
        *,
        epoch: int = 0,  # of the reader, that is read first
        prepare: Callable[[Batch], Any] | None = None,  # makes what Keras gets, instead of `inputs` and `label`
    ):
        super().__init__(workers=1, use_multiprocessing=False)
        self.reader, self.inputs, self.label, self.epoch = reader, tuple(inputs), label, epoch
        self.prepare = prepare
        self._coming = epoch
        self._batches: Iterator[Batch] = iter(())
        self._next = -1
        self._turn = threading.Lock()  # Keras looks ahead from a thread, and at times from two

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, number: int) -> Any:
        with self._turn:
            if number != self._next:
                self._batches = self.reader.epoch(self.epoch, start=number)
            batch = next(self._batches)
            self._next = number + 1
        if self.prepare is not None:
            return self.prepare(batch)
        arrays = tuple(batch[name] for name in self.inputs)
        x = arrays[0] if len(arrays) == 1 else arrays
        return x if self.label is None else (x, batch[self.label])

    def on_epoch_begin(self) -> None:
        """Go on to the next epoch. Not at an epoch's end: Keras ends some that it never began."""
        with self._turn:
            self.epoch, self._next = self._coming, -1
            self._coming += 1
