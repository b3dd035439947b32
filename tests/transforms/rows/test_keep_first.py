"""One row per key, the first, whatever the batches; and what the others said."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from molino.transforms.rows.keep_first import find_conflicts, keep_first

ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.sampled_from(["", "z"])), max_size=30)


def batch_of(rows):
    columns = zip(*rows, strict=True) if rows else ([], [], [])
    arrays = [*(pa.array(list(column), pa.string()) for column in columns), pa.array(range(len(rows)), pa.int64())]
    return pa.RecordBatch.from_arrays(arrays, ["k", "v", "w", "n"])


@given(ROWS)
def test_it_is_what_a_dictionary_keeps(rows):
    kept, pairs = keep_first(batch_of(rows), key="k")
    first = {}
    for number, (key, *_) in enumerate(rows):
        first.setdefault(key, number)
    assert kept["n"].to_pylist() == list(first.values())
    dropped = [number for number, (key, *_) in enumerate(rows) if first[key] != number]
    assert pairs["dropped_n"].to_pylist() == dropped
    assert pairs["kept_n"].to_pylist() == [first[rows[number][0]] for number in dropped]
    assert kept.num_rows + pairs.num_rows == len(rows)


@given(ROWS)
def test_keeping_twice_changes_nothing(rows):
    kept, _ = keep_first(batch_of(rows), key="k")
    again, pairs = keep_first(kept, key="k")
    assert again.equals(kept)
    assert pairs.num_rows == 0


@given(ROWS)
def test_conflicts_name_the_columns_that_differ(rows):
    _, pairs = keep_first(batch_of(rows), key="k")
    found = find_conflicts(pairs, columns=["v", "w"])
    expected = []
    for pair in pairs.to_pylist():
        differs = [c for c in ("v", "w") if pair[f"kept_{c}"] != pair[f"dropped_{c}"]]
        if differs:
            expected.append({**pair, "differs": differs})
    assert found.to_pylist() == expected
