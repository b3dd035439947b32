"""Rows of one key meet in one block, in order, whatever carried them."""

import os
import subprocess
import sys

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that
from hypothesis import given
from hypothesis import strategies as st

from molino.transforms.rows.batches import concat
from molino.transforms.rows.coder import ArrowBatchCoder
from molino.transforms.rows.partition import (
    PartitionRows,
    Parts,
    block_of,
    blocks_of_shard,
    cut_for_shards,
    hash_strings,
    sort_by_block,
    write_buckets,
)

TEXTS = st.lists(
    st.text(max_size=300) | st.text("é", min_size=1020, max_size=1030) | st.sampled_from(["", "a", "ab" * 9]),
    max_size=30,
)
SCHEMA = pa.schema([("k", pa.string()), ("n", pa.int64())])


def plain_hash(value):
    """Hash one string with Python's own whole numbers."""
    from molino.transforms.rows.partition import WEIGHTS

    text = value.encode()
    words = [int.from_bytes(text[i : i + 8], "little") for i in range(0, len(text), 8)]
    total = len(text) * int(WEIGHTS[-1]) + sum(word * int(WEIGHTS[i % 256]) for i, word in enumerate(words))
    total %= 2**64
    return (total ^ total >> 32) * 0x9E3779B97F4A7C15 % 2**64


@given(TEXTS, TEXTS)
def test_the_hash_is_that_of_plain_python(before, values):
    array = pa.array(before + values, pa.string()).slice(len(before))
    assert hash_strings(array).tolist() == [plain_hash(value) for value in values]


@pytest.mark.slow
def test_the_hash_is_the_same_in_every_process():
    code = "import pyarrow as pa; from molino.transforms.rows.partition import hash_strings as h; "
    code += "print(h(pa.array(['MUÑOZ']))[0])"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("0", "1")
    }
    assert seen == {f"{hash_strings(pa.array(['MUÑOZ']))[0]}\n"}


def test_blocks_are_even_and_in_range():
    curps = pa.array([f"AAAA{n:06d}HDFXXX{n % 100:02d}" for n in range(100_000)])
    counts = np.bincount(block_of(hash_strings(curps), 10), minlength=10)
    assert len(counts) == 10
    assert counts.min() > 9_000


@given(st.integers(1, 50), st.integers(1, 50))
def test_shards_are_runs_that_cover_all_blocks(blocks, shards):
    held = [list(blocks_of_shard(shard, shards, blocks)) for shard in range(shards)]
    assert [block for blocks_held in held for block in blocks_held] == list(range(blocks))


@given(st.lists(st.integers(0, 4)))
def test_sorting_by_block_keeps_the_order_inside(block):
    batch = pa.record_batch({"k": [str(b) for b in block], "n": pa.array(range(len(block)), pa.int64())}, schema=SCHEMA)
    rows, bounds = sort_by_block(batch, np.array(block, np.int64), 5)
    for b in range(5):
        assert rows["n"].to_pylist()[bounds[b] : bounds[b + 1]] == [i for i, x in enumerate(block) if x == b]


def rows_of(count):
    return pa.record_batch({"k": [f"k{n % 37}" for n in range(count)], "n": np.arange(count)}, schema=SCHEMA)


@pytest.mark.parametrize("spill", [True, False])
def test_both_ways_of_carrying_give_the_same_blocks(tmp_path, spill):
    rows = rows_of(1000)
    block = block_of(hash_strings(rows["k"]), 6)
    expected = {b: rows["n"].to_numpy()[block == b].tolist() for b in range(6)}

    def check(shards, count):
        found = {}
        for parts in shards:
            blocks = list(parts)
            assert len(blocks) == len(parts.blocks)
            found.update(zip(parts.blocks, (batch["n"].to_pylist() for batch in blocks), strict=True))
        assert found == expected, count

    for shards in (1, 4):
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            parts = (
                pipeline
                | beam.Create([700, 0, 300, 50, 960])
                | beam.Map(
                    lambda start: rows.slice(start, {0: 50, 50: 250, 300: 400, 700: 260, 960: 40}[start])
                ).with_output_types(pa.RecordBatch)
                | PartitionRows(
                    key=lambda batch: batch["k"],
                    schema=SCHEMA,
                    blocks=6,
                    shards=shards,
                    order_by="n",
                    spill=str(tmp_path) if spill else None,
                )
            )
            assert_that(parts, lambda found, shards=shards: check(found, shards))


@given(st.lists(st.integers(0, 999)), st.integers(1, 1000), st.data())
def test_pieces_hold_the_rows_of_their_shards(block, blocks, data):
    shards = data.draw(st.integers(1, blocks))
    block = np.array(block, np.int64) % blocks
    batch = pa.record_batch({"k": [str(b) for b in block], "n": pa.array(range(len(block)), pa.int64())}, schema=SCHEMA)
    pieces = cut_for_shards(batch, block, blocks, shards)
    assert len(pieces) == shards
    for shard, piece in enumerate(pieces):
        held = blocks_of_shard(shard, shards, blocks)
        found = list(Parts(shard, held, SCHEMA, "n", batches=[piece]))
        assert [rows["n"].to_pylist() for rows in found] == [np.flatnonzero(block == b).tolist() for b in held]
        assert all(rows.schema == SCHEMA for rows in found)


def test_a_part_of_a_shuffle_is_not_larger_than_its_rows():
    rows = rows_of(10_000)
    pieces = cut_for_shards(rows, block_of(hash_strings(rows["k"]), 64), 64, 16)
    part = max(pieces, key=lambda piece: piece.num_rows)
    assert len(ArrowBatchCoder().encode(part)) < 2 * part.nbytes + 1000
    assert concat([part], SCHEMA) is part


def test_a_piece_without_rows_takes_next_to_nothing(tmp_path):
    """Of a large input most shards have no row of a batch; pyarrow writes all offsets of the batch for each."""
    rows, shards = 20_000, 500
    columns = [pa.array([str(n) for n in range(rows)]), pa.array(["x", "y"] * (rows // 2)).dictionary_encode()]
    batch = pa.RecordBatch.from_arrays([*columns, pa.array(range(rows))], ["k", "coded", "n"])
    block = np.full(rows, shards // 2)
    whole, spread = cut_for_shards(batch, block * 0, 1, 1), cut_for_shards(batch, block, shards, shards)
    one, many = (write_buckets(pieces, str(tmp_path)) for pieces in (whole, spread))
    assert os.path.getsize(many) - os.path.getsize(one) < 1000 * shards
    for shard in (0, shards // 2):
        (found,) = Parts(shard, range(1), batch.schema, None, files=[many])
        assert found.num_rows == (rows if shard else 0)
    assert found.equals(batch)
