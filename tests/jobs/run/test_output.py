"""What differs from the finished run that an output holds: which inputs and why, which options and their values."""

import os

import pytest

from molino.jobs.run.inputs import entries_of, find_inputs
from molino.jobs.run.lock import OutputExistsError
from molino.jobs.run.output import read_output
from molino.jobs.run.runs import Run
from molino.transforms.files.list_files import list_files
from tests.training.made_run import publish

OPTIONS = {"min_count": 5, "curp": "keep", "junk": ["a long list of words", "NULL"], "key": None}


@pytest.fixture
def files(tmp_path):
    """A folder with three inputs."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.txt", "b.txt", "sub.txt"):
        (folder / name).write_text("some text")
        os.utime(folder / name, (1, 1))
    return folder


def listed(folder):
    return entries_of(find_inputs([str(folder / "*")]))


def told(folder, was, now, options=OPTIONS, old=OPTIONS):
    """Return what is said of a run over `now` in the output of one over `was`."""
    (folder / "out").mkdir(exist_ok=True)
    manifest = {"format": 1, "job": "made", "run": "before", "digest": "", "datasets": {}, "views": [], "counters": {}}
    manifest |= {"options": old, "inputs": was, "warnings": [], "replaced_views": [], "balance": ["rows", []]}
    publish(folder / "out", manifest)
    rest: dict = {"output": "", "datasets": {}, "balance": ("rows_read", ()), "counted": ()}
    run = Run(job="made", id="now", work="", options=options, inputs=now, code={}, **rest)
    with pytest.raises(OutputExistsError) as error:
        read_output(str(folder / "out")).holds(run, overwrite=False)
    text = str(error.value)
    assert text.startswith(f"{folder}/out holds a finished run with other ")
    assert text.endswith("; add --overwrite to replace it, or choose another --output")
    return text.split("with other ")[1].split("; add ")[0]


def test_files_that_came_went_and_changed_are_named(files, tmp_path):
    was = listed(files)
    (files / "new.txt").write_text("more")
    assert told(tmp_path, was, listed(files)) == "inputs (new.txt is new)"
    assert told(tmp_path, was, was[::-1]) == "inputs (in another order)"
    (files / "a.txt").unlink()
    (files / "b.txt").write_text("some longer text")
    assert told(tmp_path, was, listed(files)) == "inputs (a.txt is gone, b.txt has 16 bytes, had 9, new.txt is new)"
    (files / "sub.txt").write_text("same size")
    assert told(tmp_path, was, listed(files)).endswith("b.txt has 16 bytes, had 9, new.txt is new, 1 more)")


def test_a_file_of_the_same_size_was_written_again(files, tmp_path):
    was = listed(files)
    os.utime(files / "b.txt", (2, 2))
    assert told(tmp_path, was, listed(files)) == "inputs (b.txt was written again)"


def test_other_files_altogether_are_named_from_where_they_part(files, tmp_path):
    was = listed(files)[:1]
    now = [{**was[0], "path": f"{tmp_path}/in2/a.txt"}]
    assert told(tmp_path, was, now) == "inputs (in/a.txt is gone, in2/a.txt is new)"


def test_a_folder_tells_of_its_files(files, tmp_path):
    def folder():
        return entries_of([list_files(str(files), photographs=True)])

    was = folder()
    os.utime(files / "b.txt", (2, 2))
    assert told(tmp_path, was, folder()) == "inputs (in has other files)"
    (files / "b.txt").write_text("longer than before")
    assert told(tmp_path, was, folder()) == "inputs (in has 36 bytes, had 27)"
    (files / "new.txt").write_text("more")
    assert told(tmp_path, was, folder()) == "inputs (in has 4 files, had 3)"


def test_options_are_told_with_both_values_where_they_are_short(files, tmp_path):
    was = listed(files)
    assert told(tmp_path, was, was, {**OPTIONS, "min_count": 1}) == "options (min_count 1, was 5)"
    other = {**OPTIONS, "junk": [], "key": "x", "curp": "drop", "min_count": 6}
    assert told(tmp_path, was, was, other) == 'options (min_count 6, was 5, curp "drop", was "keep", junk, 1 more)'
    assert told(tmp_path, was, was, {**OPTIONS, "key": "x"}) == 'options (key "x", was none)'
    both = told(tmp_path, was, [], {**OPTIONS, "key": "x"})
    assert both.endswith(', sub.txt is gone) and options (key "x", was none)')


def test_options_that_follow_from_the_input_are_not_told_with_it(files, tmp_path):
    options = {**OPTIONS, "shards": 4}
    was = listed(files)
    assert told(tmp_path, was, was[:1], options) == "inputs (b.txt is gone, sub.txt is gone)"
    assert told(tmp_path, was, was, options) == "options (shards 4, was none)"
    assert told(tmp_path, was, was) == "code"
