"""What workers on other machines need: models reach them by the output's folder, keys stay where they are."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from molino.jobs import names, titles
from molino.jobs.run import command
from molino.jobs.run.lock import BusyError, Lock
from molino.jobs.run.output import read_manifest
from molino.jobs.runners import exits
from molino.jobs.runners.engine import make_engine
from molino.training.nnlm_export import export_nnlm
from molino.transforms.files import carry, storage
from molino.transforms.models import embed, model_files
from molino.transforms.titles.sample import sample_titles
from tests.storage.memory_store import OBJECTS

WORDS = ["Smart", "Tv", "Celular", "Mesa", "De", "32", "Samsung", "Negro"]


@pytest.fixture(autouse=True)
def store(monkeypatch):
    OBJECTS.clear()
    monkeypatch.setattr(Lock, "PAUSE", 0.01)
    yield
    OBJECTS.clear()


def put(path, name):
    """Place a file, or all files of a folder, in the store."""
    for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
        target = name if path.is_file() else f"{name}/{file.relative_to(path)}"
        with storage.open_output(target) as copy:
            copy.write(file.read_bytes())


@pytest.mark.parametrize(
    ("runner", "flags", "elsewhere"),
    [
        ("embedded", [], False),
        ("DirectRunner", [], False),
        ("PrismRunner", [], False),
        ("PrismRunner", ["--environment_type", "DOCKER"], True),
        ("FlinkRunner", [], False),
        ("FlinkRunner", ["--flink_master=host:8081"], True),
        ("FlinkRunner", ["--flink_master=host:8081", "--environment_type=LOOPBACK"], False),
        ("SparkRunner", ["--spark_master_url", "local[2]"], False),
        ("SparkRunner", ["--spark_master_url", "spark://host:7077"], True),
        ("PortableRunner", ["--job_endpoint=host:1"], True),
        ("DataflowRunner", [], True),
    ],
)
def test_where_workers_are(runner, flags, elsewhere):
    args, _ = names.parser().parse_strictly(["--input", "a", "--output", "b", "--runner", runner])
    assert make_engine(args, flags).elsewhere is elsewhere


@pytest.mark.parametrize("given", ["file", "variable"])
@pytest.mark.parametrize(
    "flags", [["--runner", "DataflowRunner"], ["--runner", "FlinkRunner", "--flink_master", "h:1"]]
)
def test_a_key_of_this_machine_is_refused_where_workers_are_elsewhere(given, flags, tmp_path, monkeypatch, capsys):
    put(_payroll(tmp_path), "mem://bucket/sep.txt")
    secret = "0123456789abcdef-a-secret"
    (tmp_path / "key").write_text(secret)
    monkeypatch.setenv("MOLINO_CURP_KEY", secret)
    key = ["--curp-key-file", str(tmp_path / "key")] if given == "file" else []
    with pytest.raises(SystemExit) as stopped:
        names.JOB.main(
            ["--input", "mem://bucket/sep.txt", "--output", "mem://bucket/out", "--curp", "hash", *key, *flags]
        )
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert (str(tmp_path / "key") if given == "file" else "MOLINO_CURP_KEY") in said
    assert "put it where" in said
    assert secret not in said
    assert set(OBJECTS) == {"mem://bucket/sep.txt"}


def _payroll(folder):
    from molino.transforms.names.sample import sample_names

    sample_names(str(folder / "sep.txt"), rows=300)
    return folder / "sep.txt"


@pytest.mark.slow
def test_a_key_in_a_store_is_read_by_the_workers(tmp_path, monkeypatch):
    put(_payroll(tmp_path), "mem://bucket/sep.txt")
    with storage.open_output("mem://bucket/key") as file:
        file.write(b"0123456789abcdef-a-secret\n")
    (tmp_path / "key").write_bytes(b"0123456789abcdef-a-secret")
    words = ["--input", "mem://bucket/sep.txt", "--curp", "hash", "--quiet", "--workers", "1"]
    assert names.JOB.main([*words, "--output", "mem://bucket/out", "--curp-key-file", "mem://bucket/key"]) == 0
    assert names.JOB.main([*words, "--output", str(tmp_path / "out"), "--curp-key-file", str(tmp_path / "key")]) == 0
    digests = [read_manifest(place)["digest"] for place in ("mem://bucket/out", str(tmp_path / "out"))]
    assert digests[0] == digests[1]


@pytest.fixture
def model(tmp_path, monkeypatch, hub):
    """A small model, and a cache of the machine that submits."""
    monkeypatch.setenv("MOLINO_CACHE", str(tmp_path / "here"))
    rows = np.random.default_rng(1).standard_normal((len(WORDS) + 3, 4)).astype(np.float32)
    export_nnlm(str(tmp_path / "small"), WORDS, rows, buckets=3, normalization=True)
    sample_titles(str(tmp_path / "t.csv"), rows=300)
    put(tmp_path / "t.csv", "mem://bucket/t.csv")
    return tmp_path / "small"


def run(output, location, *more):
    words = ["--input", "mem://bucket/t.csv", "--quiet", "--workers", "1", "--output", output, *more]
    return titles.JOB.main([*words, "--model", f"m={location}"])


def have_workers_elsewhere(monkeypatch):
    make = command.make_engine
    monkeypatch.setattr(command, "make_engine", lambda *told: dataclasses.replace(make(*told), elsewhere=True))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["table", "generic"])
def test_a_model_reaches_workers_on_other_machines(kind, model, tmp_path, monkeypatch):
    """Workers with a cache of their own find it beside the run's unfinished files, and no path of this machine."""
    if kind == "generic":
        plan_models = embed.plan_models

        def plan_generic(*words, **options):
            how = {"kind": "generic", "reason": "to be tried"}
            found = plan_models(*words, **options)
            return [dataclasses.replace(one, path=model_files.find_model(one.location), **how) for one in found]

        monkeypatch.setattr(embed, "plan_models", plan_generic)
    assert run("mem://bucket/here", model) == 0
    have_workers_elsewhere(monkeypatch)
    send, seen = carry.send, []

    def send_and_leave(folder, target):
        send(folder, target)
        monkeypatch.setenv("MOLINO_CACHE", str(tmp_path / "there"))

    monkeypatch.setattr(carry, "send", send_and_leave)
    monkeypatch.setattr(model_files, "_open", {})
    monkeypatch.setattr(embed.Embedder, "__init__", _note(embed.Embedder.__init__, seen))
    assert run("mem://bucket/there", model) == 0
    digests = [read_manifest(f"mem://bucket/{place}")["digest"] for place in ("here", "there")]
    assert digests[0] == digests[1]
    assert {each.path for each in seen} == {""}
    (copied,) = [path for path in (tmp_path / "there/sent").iterdir() if path.is_dir()]
    assert copied.name in {path.rsplit("/", 1)[1] for path in [each.sent for each in seen]}
    assert not [path for path in OBJECTS if "_staging" in path]


def _note(real, seen):
    def init(self, model):
        seen.append(model)
        real(self, model)

    return init


@pytest.mark.slow
def test_a_model_that_was_changed_on_its_way_is_refused(model, tmp_path, monkeypatch, capsys):
    have_workers_elsewhere(monkeypatch)
    monkeypatch.setattr(exits, "leave", _leave)
    send = carry.send

    def send_something_else(folder, target):
        send(folder, target)
        path = next(path for path in OBJECTS if path.startswith(target) and "facts" not in path)
        data, changed = OBJECTS[path]
        OBJECTS[path] = (data[:-1] + bytes([data[-1] ^ 1]), changed)
        monkeypatch.setenv("MOLINO_CACHE", str(tmp_path / "there"))

    monkeypatch.setattr(carry, "send", send_something_else)
    monkeypatch.setattr(model_files, "_open", {})
    with pytest.raises(SystemExit) as stopped:
        run("mem://bucket/out", model)
    assert stopped.value.code == 1
    assert "is not what was sent" in capsys.readouterr().err


def _leave(code):
    raise SystemExit(code)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_a_model_in_a_store_is_brought_once(kind, model, tmp_path, monkeypatch):
    if kind == "folder":
        location = "mem://bucket/models/small"
        put(model, location)
    else:
        import shutil

        location = "mem://bucket/models/small.tar.gz"
        put(pathlib.Path(shutil.make_archive(str(tmp_path / "small"), "gztar", model)), location)
    assert run("mem://bucket/local", model) == 0
    assert run("mem://bucket/out", location) == 0
    brought = list((tmp_path / "here/brought").iterdir())
    assert len(brought) == 1
    manifests = [read_manifest(f"mem://bucket/{place}") for place in ("local", "out")]
    assert manifests[0]["digest"] == manifests[1]["digest"]
    assert manifests[0]["options"]["models"] == manifests[1]["options"]["models"]
    assert embed.plan_models({"m": location})[0].digest == manifests[0]["options"]["models"][0]["digest"]
    assert list((tmp_path / "here/brought").iterdir()) == brought


def test_no_model_in_a_store_is_said(tmp_path, monkeypatch):
    from molino.transforms.errors import DataError
    from molino.transforms.models.model_files import find_model

    monkeypatch.setenv("MOLINO_CACHE", str(tmp_path))
    for location in ("mem://bucket/nowhere", "mem://bucket/nowhere.tar.gz"):
        with pytest.raises(DataError, match=f"there is no model {location}"):
            find_model(location)


def test_a_lock_that_was_handed_over_stays(tmp_path):
    with Lock("mem://bucket/out", "token") as lock:
        lock.note(job_file="gs://bucket/names.json")
    claim = json.loads(OBJECTS["mem://bucket/out/_lock"][0])
    assert (claim["token"], claim["job_file"]) == ("token", "gs://bucket/names.json")
    with (
        pytest.raises(BusyError, match=r"is kept for the job of gs://bucket/names\.json"),
        Lock("mem://bucket/out", "another"),
    ):
        pass


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--environment_type", "LOOPBAC"], "did you mean LOOPBACK?"),
        (["--environment_type", "PROCESS", "--environment_config", '{"command": '], "for PROCESS it is JSON"),
    ],
)
def test_an_environment_that_beam_does_not_know(flags, told, tmp_path, capsys):
    given = ["--input", str(_payroll(tmp_path)), "--output", str(tmp_path / "out"), "--runner", "FlinkRunner"]
    with pytest.raises(SystemExit) as stopped:
        names.JOB.main([*given, *flags])
    assert stopped.value.code == 2
    assert told in capsys.readouterr().err
