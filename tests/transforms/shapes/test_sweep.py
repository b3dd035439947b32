"""Sweeps: what blocks mean, the built-in ones, and what is wrong with a file."""

import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molino.transforms.errors import DataError
from molino.transforms.shapes import sweep as module
from molino.transforms.shapes.points import PROBLEMS, Problem
from molino.transforms.shapes.sweep import SWEEPS, choose_problems, expand_sweep, parse_sweep, read_sweep

ROOT = pathlib.Path(__file__).resolve().parents[3]
BLOCK = {"hidden": 10, "batch": 100, "steps": 50}


def networks_of(*blocks):
    return expand_sweep(parse_sweep(list(blocks), "s"), "s")[0]


def test_every_combination_is_a_network():
    made = networks_of({**BLOCK, "problem": ["ring", "cos=3"], "hidden": [1, [2, 3]], "seed": [5, 6], "rate": "1e-1"})
    assert [(n.problem, n.hidden, n.seed) for n in made] == [
        (problem, hidden, seed)
        for problem in (Problem("ring", 0.75), Problem("cos", 3.0))
        for hidden in ((1,), (2, 3))
        for seed in (5, 6)
    ]
    assert {(n.batch, n.steps, n.rate, n.decay, n.decay_steps, n.l2, n.deviation) for n in made} == {
        (100, 50, 0.1, 1.0, 3500, 0.00125, 0.0441)
    }
    assert [n.problem.name for n in networks_of(BLOCK)] == list(PROBLEMS)


def test_a_network_that_stands_twice_is_one():
    block = {**BLOCK, "problem": "ring"}
    made, again = expand_sweep(parse_sweep([block, {**block, "seed": [1, 2, 2]}], "s"), "s")
    assert ([n.seed for n in made], again) == ([1, 2], 2)


def test_the_study_s_sweep():
    made = expand_sweep(read_sweep("study"), "study")[0]
    one, deep = ([n for n in made if (len(n.hidden) == 1) == shallow] for shallow in (True, False))
    assert (len(one), len(deep)) == (144, 60)
    assert {(n.problem.name, n.hidden, n.batch, n.steps) for n in one} == {
        (problem, (nodes,), batch, steps)
        for problem in PROBLEMS
        for nodes in (1, 10, 100, 1000)
        for batch in (100, 1000)
        for steps in (11, 1001, 6001)
    }
    wide = [(a, b, c) for a in (100, 1000) for b in (100, 1000) for c in (10, 50)]
    last = [(a, b, c) for a in (100, 1000) for b in (100, 1000) for c in (10, 100, 1000)]
    expected = {(problem, h, steps) for problem in ("ring", "cos", "polar") for h in wide for steps in (1001, 6001)}
    assert {(n.problem.name, n.hidden, n.steps) for n in deep} == expected | {("polar", h, 1000) for h in last}
    assert {(n.batch, n.rate, n.decay, n.decay_steps, n.l2, n.deviation) for n in deep} == {
        (1000, 0.5, 0.86, 3500, 0.00125, 0.0441)
    }
    assert {n.decay for n in one} == {1.0}


def test_the_default_sweep_is_of_a_laptop_s_size():
    made = expand_sweep(read_sweep("default"), "default")[0]
    assert len(made) >= 60
    assert {n.problem.name for n in made} == set(PROBLEMS)
    assert sum(n.nanoseconds for n in made) < 15 * 60e9 * 2 / 10  # a tenth of 15 minutes on two cores
    assert len({len(n.hidden) for n in made}) > 1
    assert len({n.seed for n in made}) > 1


def test_sweeps_of_the_project_can_be_read():
    for path in sorted((ROOT / "sweeps").glob("*.yaml")):
        assert expand_sweep(read_sweep(str(path)), path.name)[1] == 0


def test_wanted_problems_only():
    blocks = parse_sweep([{**BLOCK, "problem": ["ring", "cos=3", "circle"]}, {**BLOCK, "problem": "linear"}], "s")
    chosen = choose_problems(blocks, [Problem("cos", 8.0), Problem("ring", 0.5)])
    assert [block["problem"] for block in chosen] == [["ring=0.5", "cos=3"]]
    assert [block["problem"] for block in choose_problems(blocks, [Problem("cos", 5.0), Problem("cos", 6.0)])] == [
        ["cos=5", "cos=6"]
    ]
    with pytest.raises(DataError, match="no network for polar; it has circle, cos, linear, ring"):
        choose_problems(blocks, [Problem("polar", 4.0)])


WRONG = {
    "": "is a list of blocks",
    "[]": "is a list of blocks",
    "hidden: 1": "is a list of blocks",
    "- 3": "block 1: a block names parameters",
    "- {hidden: 1, batch: 2, steps: 3}\n- {hiden: 1}": "block 2: there is no parameter 'hiden'; did you mean hidden?",
    "- {zzz: 1}": "there are problem, hidden, batch",
    "- {1: 1}": "there is no parameter '1'",
    "- {batch: 2, steps: 3}": "hidden is missing",
    "- {hidden: [], batch: 2, steps: 3}": "hidden has no value",
    "- {hidden: [[]], batch: 2, steps: 3}": "1 to 20 hidden layers, not 0",
    "- {hidden: 0, batch: 2, steps: 3}": "hidden: 0 is not from 1",
    "- {hidden: 1.5, batch: 2, steps: 3}": "1.5 is no whole number",
    "- {hidden: yes, batch: 2, steps: 3}": "True is no whole number",
    "- {hidden: 1, batch: '2', steps: 3}": "batch: '2' is no whole number",
    "- {hidden: 1, batch: 2, steps: 0}": "steps: 0 is not from 1",
    "- {hidden: 1, batch: 2, steps: 3, rate: fast}": "rate: 'fast' is no number",
    "- {hidden: 1, batch: 2, steps: 3, rate: .nan}": "nan is not from",
    "- {hidden: 1, batch: 2, steps: 3, rate: .inf}": "inf is not from",
    "- {hidden: 1, batch: 2, steps: 3, l2: -1}": "l2: -1 is not from 0",
    "- {hidden: 1, batch: 2, steps: 3, decay: 2}": "decay: 2 is not from",
    "- {hidden: 1, batch: 2, steps: 3, seed: -1}": "seed: -1 is not from 0",
    "- {hidden: 1, batch: 2, steps: 3, problem: square}": "'square' is no problem",
    "- {hidden: 1, batch: 2, steps: 3, problem: 4}": "4 is no problem",
    "- {hidden: 1, batch: 2, steps: 3, problem: {cos: 3}}": "is no problem",
    "- [": "line 1: not YAML",
    "- {hidden: 1, batch: 2, steps: 3}\n- hidden: 1\n  batch: 2\n  hidden: 3": "line 4: not YAML ('hidden' stands",
    "a\n- b: : c": "not YAML",
    "- {hidden: 1, batch: 2, steps: 3, when: 2020-99-99}": "not YAML",
    "!!python/object:os.system {}": "not YAML",
    "\x00": "not YAML",
    "- " + "[" * 5000: "not YAML",
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: ascii(text[:40]))
def test_what_is_wrong_is_told_in_one_line(text, tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        expand_sweep(read_sweep(str(path)), str(path))
    message = str(error.value)
    assert message.startswith(str(path))
    assert WRONG[text] in message
    assert "\n" not in message


def test_files_that_are_no_sweep(tmp_path):
    with pytest.raises(DataError, match=r"cannot read the sweep .*No such file.*default or study"):
        read_sweep(str(tmp_path / "none.yaml"))
    with pytest.raises(DataError, match="Is a directory"):
        read_sweep(str(tmp_path))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xfa" * 9)
    with pytest.raises(DataError, match="not YAML"):
        read_sweep(str(tmp_path / "binary"))
    (tmp_path / "large").write_bytes(b"#" * (module.MOST_BYTES + 1))
    with pytest.raises(DataError, match=r"at most 1,048,576 bytes"):
        read_sweep(str(tmp_path / "large"))


def test_a_sweep_has_bounds():
    block = {**BLOCK, "seed": list(range(100)), "batch": list(range(1, 100)), "steps": list(range(1, 100))}
    with pytest.raises(DataError, match="5,880,600 networks, more than 100,000"):
        networks_of(block)
    with pytest.raises(DataError, match=r"\[9000, 9000\] makes .* weights, more than"):
        networks_of({**BLOCK, "hidden": [[9000, 9000]]})


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_any_value_is_taken_or_told(value):
    for name in module.PARAMETERS:
        told = ""
        try:
            blocks = parse_sweep([{**BLOCK, "problem": "ring", name: value}], "s")
        except DataError as error:
            told = str(error)
        assert told.startswith(f"s, block 1: {name}") or (not told and expand_sweep(blocks, "s")[0])


@pytest.mark.parametrize("name", SWEEPS)
def test_blocks_that_were_read_read_the_same(name):
    blocks = read_sweep(name)
    assert parse_sweep([dict(block) for block in blocks], name) == blocks
