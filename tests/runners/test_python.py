"""Runs from Python: the command's checks and messages, and nothing else of it."""

import logging
import signal
import subprocess
import sys
import threading
import types

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import molino
from molino.jobs import cli
from tests.every_job import JOBS, prepare


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """A finished run of the names job, and its input."""
    folder = tmp_path_factory.mktemp("names")
    prepare("names", folder)
    return molino.run("names", input=folder / "in.txt", output=folder / "out", quiet=True), folder


def test_a_run_is_read(names):
    run = names[0]
    people = run.read("people")
    assert people.num_rows == run.manifest["counters"]["people"] == run.dataset("people").count_rows()
    assert run.read("people", ["age", "curp"]).column_names == ["age", "curp"]
    assert pa.parquet.read_table(run.files("people")[0]).num_rows <= people.num_rows
    assert run.dataset("people").to_table().equals(people)
    assert run.schema("people").field("age").metadata[b"doc"].startswith(b"Reference year")
    run.verify()
    assert len(repr(run)) < 300  # what a notebook shows


def test_an_empty_data_set_has_its_columns(names):
    rejects = names[0].read("rejects")
    assert rejects.num_rows == 0
    assert rejects.column_names == ["source", "line", "reason", "row"]
    assert names[0].dataset("rejects").count_rows() == 0


def test_what_is_not_there_is_told_with_what_is(names):
    with pytest.raises(molino.RunError, match=r"has no data set peple; it has: apellidos, .*people"):
        names[0].read("peple")
    with pytest.raises(molino.RunError, match=r"people of .* has no column curps; it has: curp, "):
        names[0].read("people", ["curps"])
    with pytest.raises(molino.DataError, match="there is no folder /nothing"):
        molino.open("/nothing")


def test_rot_is_found(names, tmp_path):
    run = molino.run("names", input=names[1] / "in.txt", output=tmp_path / "out", quiet=True)
    file = run.files("hombres")[0]
    with open(file, "r+b") as opened:
        opened.seek(40)
        byte = opened.read(1)
        opened.seek(40)
        opened.write(bytes([byte[0] ^ 1]))
    with pytest.raises(molino.RunError, match="changed after it was written"):
        molino.open(tmp_path / "out").verify()


def test_a_notebook_is_no_other_place(names, tmp_path, monkeypatch):
    """There Beam would load pandas, which the base install lacks, and which of version 3 it cannot use."""
    kernel = types.SimpleNamespace(execution_count=1, config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: kernel))
    run = molino.run("names", input=names[1] / "in.txt", output=tmp_path / "out", quiet=True)
    assert run.manifest["digest"] == names[0].manifest["digest"]


def test_the_same_run_is_opened_and_another_refused(names):
    run, folder = names
    again = molino.run("names", input=str(folder / "in.txt"), output=str(folder / "out"))
    assert again.manifest["attempt"] == run.manifest["attempt"]
    with pytest.raises(molino.OutputExistsError, match="min_count"):
        molino.run("names", input=folder / "in.txt", output=folder / "out", min_count=2)


@pytest.mark.parametrize(
    ("job", "options", "message"),
    [
        ("nams", {}, r"did you mean names\?; there are: names, "),
        ("names", {"output": "x"}, "--input"),
        ("names", {"input": "in.txt", "output": "x", "min_cuont": 3}, "did you mean --min-count"),
        ("names", {"input": "in.txt", "output": "x", "min_count": 0}, "must be at least 1"),
        ("names", {"input": "in.txt", "output": "x", "runner": "DataflowRunner"}, "cannot see it; give a gs:"),
    ],
)
def test_a_wrong_option_raises(job, options, message, names, monkeypatch):
    monkeypatch.chdir(names[1])
    with pytest.raises(molino.OptionError, match=message):
        molino.run(job, **options)


def test_a_missing_input_raises_and_leaves_nothing(tmp_path):
    with pytest.raises(molino.DataError, match=r"there is no file .*nothing\.txt"):
        molino.run("names", input=tmp_path / "nothing.txt", output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_process_stays_the_callers(tmp_path, names):
    """In a thread, with a child of the caller's own, whether the run succeeds or fails half-way."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    log = logging.getLogger("apache_beam")
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    state = sys.stderr, threading.excepthook, log.level, logging.getLogger().handlers[:]
    raised = []

    def work():
        made = molino.run("names", input=names[1] / "in.txt", output=tmp_path / "out", min_count=3, quiet=True)
        raised.append(made.manifest["options"]["min_count"])
        try:
            molino.run(
                "names", input=names[1] / "in.txt", output=tmp_path / "no", max_reject_ratio=0, invalid_curp="reject",
                missing_curp="reject", worker_mode="processes", workers=2, quiet=True,
            )  # fmt: skip
        except molino.DataError as error:
            raised.append(str(error))

    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert raised[0] == 3
        assert "records were rejected" in raised[1]
        assert child.poll() is None
        assert (sys.stderr, threading.excepthook, log.level, logging.getLogger().handlers[:]) == state
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    finally:
        child.kill()
        child.wait()


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_every_job_gives_from_python_what_its_command_gives(job, tmp_path, monkeypatch):
    prepare(job, tmp_path)
    monkeypatch.chdir(tmp_path)
    words = JOBS[job][1]
    assert cli.main([job, *words, "--output", "command", "--quiet"]) == 0
    options, name = {}, ""
    for word in words:
        if word.startswith("--"):
            options[name := word.removeprefix("--")] = []
        else:
            options[name].append(word)
    run = molino.run(job, **options, output="python", quiet=True)
    assert run.manifest["digest"] == molino.open("command").manifest["digest"]


def test_reading_loads_no_beam(names):
    program = (
        f"import molino, sys; run = molino.open({str(names[1] / 'out')!r}); run.read('people'); run.verify();"
        "print(*{name.split('.')[0] for name in sys.modules} & {'apache_beam', 'obstore', 'numba', 'tensorflow'})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_files_and_show(names, capsys):
    output = str(names[1] / "out")
    assert cli.main(["files", output, "people"]) == 0
    assert capsys.readouterr().out.splitlines() == names[0].files("people")
    assert cli.main(["files", output, "people", "--sql"]) == 0
    assert capsys.readouterr().out == ", ".join(f"'{path}'" for path in names[0].files("people")) + "\n"
    assert cli.main(["show", output, "apellidos", "--rows", "2"]) == 0
    shown = capsys.readouterr().out
    top = pc.cast(names[0].read("apellidos")["apellido"], pa.string()).to_pylist()[:2]
    assert f"apellido  string                {' | '.join(top)}" in shown
    assert cli.main(["show", output, "nothing"]) == 1
    assert "has no data set nothing; it has: " in capsys.readouterr().err
