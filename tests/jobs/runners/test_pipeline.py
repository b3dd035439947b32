"""The embedded runner: nothing that a worker puts out is lost between it and the runner."""

import time

import apache_beam as beam
import pytest
from apache_beam.runners.worker import data_plane

from molino.jobs.runners import pipeline
from molino.jobs.runners.engine import Engine

PIECES = 40


def put_out_slowly(span):
    for piece in range(PIECES):
        time.sleep(0.05)
        yield span, piece


def check(pairs):
    found = sorted(pairs)
    if found != [(span, piece) for span in range(4) for piece in range(PIECES)]:
        raise ValueError(f"{4 * PIECES - len(found)} of {4 * PIECES} elements were lost")
    return len(found)


def build(pipeline):
    spans = pipeline | beam.Create(range(4), reshuffle=False) | beam.Reshuffle()
    pieces = spans | "PutOut" >> beam.FlatMap(put_out_slowly)
    held = beam.pvalue.AsList(pieces)
    _ = pipeline | beam.Impulse() | "Check" >> beam.Map(lambda _, pairs: check(pairs), pairs=held)


@pytest.fixture
def slow_to_empty(monkeypatch):
    """Make the moment long in which a buffer has been sent and is not yet emptied."""

    def flush_slowly(stream):
        sent = stream.get()
        if stream._flush_callback and sent:
            stream._flush_callback(sent)
            time.sleep(0.2)
            stream._clear()

    monkeypatch.setattr(data_plane.SizeBasedBufferingClosableOutputStream, "flush", flush_slowly)


def run(workers):
    pipeline.run_pipeline(build, Engine(workers=workers), submitted=lambda: None, sources=(None, []))


@pytest.mark.slow
@pytest.mark.usefixtures("slow_to_empty")
def test_threads_lose_nothing_while_they_put_out_slowly():
    """Each worker puts out for four seconds: Beam's own environment would send what there is every second."""
    run(workers=2)


@pytest.mark.slow
@pytest.mark.usefixtures("slow_to_empty")
def test_the_loss_that_this_guards_against_is_there(monkeypatch):
    """When this fails, Beam has mended its buffers, and the environment of the threads can be Beam's own again."""
    monkeypatch.setattr(pipeline, "NEVER_MS", 1000)
    with pytest.raises(Exception, match="elements were lost"):
        run(workers=2)
