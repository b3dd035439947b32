"""CURPs stand where they are asked for, and nowhere else."""

import hmac
import json

import pyarrow.parquet as pq
import pytest

from tests.faults.fault_harness import environment, names, side_by_side

pytestmark = pytest.mark.slow
KEY = "0123456789abcdef-a-secret"


@pytest.fixture(scope="module")
def curps(sample):
    """Every CURP of the input, as the job spells it."""
    lines = sample.read_bytes().decode("latin-1").split("\n")[1:]
    fields = [line.split("|") for line in lines]
    return {f[2].strip().upper() for f in fields if len(f) == 10 and len(f[2]) > 10 and "\0" not in f[2]}


@pytest.fixture(scope="module")
def outputs(sample, tmp_path_factory):
    """Outputs in the three modes, and all that was said."""
    folder = tmp_path_factory.mktemp("privacy")
    (folder / "key").write_text(KEY + "\n")
    modes = {
        "keep": ([], {}),
        "drop": (["--curp", "drop"], {}),
        "hash": (["--curp", "hash"], {"MOLINO_CURP_KEY": KEY}),
        "file": (["--curp", "hash", "--curp-key-file", folder / "key"], {}),
    }
    options = ["--invalid-curp", "reject", "--max-reject-ratio", 1, "--repair-names"]
    ended = side_by_side(
        [lambda m=m: names(sample, folder / m, *options, *modes[m][0], env=environment(**modes[m][1])) for m in modes]
    )
    assert [e.code for e in ended] == [0] * 4, ended
    return folder, {mode: e.out + e.err for mode, e in zip(modes, ended, strict=True)}


def text_of(output, datasets):
    """Return all values of data sets, or of everything else, as one text."""
    manifest = json.loads((output / "_manifest.json").read_text())
    parts = []
    for name, dataset in manifest["datasets"].items():
        if name in datasets:
            parts += [json.dumps(pq.read_table(output / f["path"]).to_pylist()) for f in dataset["files"]]
    if "views" in datasets:
        parts += [(output / view["path"]).read_text() for view in manifest["views"]]
        parts += [(output / "_manifest.json").read_text()]
    return "\n".join(parts).upper()


@pytest.mark.parametrize("mode", ["keep", "drop", "hash"])
def test_nothing_but_people_and_conflicts_shows_a_curp(mode, outputs, curps):
    folder, said = outputs
    others = {"rejects", "repairs", "apellidos", "hombres", "mujeres", "views"}
    shown = text_of(folder / mode, others) + said[mode].upper()
    assert [curp for curp in curps if curp in shown] == []
    assert text_of(folder / mode, {"rejects"})


@pytest.mark.parametrize("mode", ["drop", "hash", "file"])
def test_people_and_conflicts_neither_where_it_is_not_wanted(mode, outputs, curps):
    folder, _ = outputs
    shown = text_of(folder / mode, {"people", "conflicts"})
    assert [curp for curp in curps if curp in shown] == []
    assert KEY.upper() not in text_of(folder / mode, {"views", "people"})


def test_hashes_are_hmacs_of_the_key_wherever_it_came_from(outputs):
    folder, _ = outputs
    columns = {}
    for mode in ("keep", "hash", "file"):
        files = json.loads((folder / mode / "_manifest.json").read_text())["datasets"]["people"]["files"]
        columns[mode] = [curp for f in files for curp in pq.read_table(folder / mode / f["path"])["curp"].to_pylist()]
    assert columns["hash"] == columns["file"]
    assert columns["hash"] == [hmac.new(KEY.encode(), c.encode(), "sha256").hexdigest() for c in columns["keep"]]


def test_a_file_without_a_header_shows_nobody(sample, tmp_path):
    lines = sample.read_bytes().split(b"\n")[1:]
    (tmp_path / "nohead.txt").write_bytes(b"\n".join(lines))
    ended = names(tmp_path / "nohead.txt", tmp_path / "out")
    assert ended.code == 1
    assert "lacks the columns 'CURP'" in ended.err
    for field in lines[0].decode("latin-1").split("|")[1:6]:
        assert field not in ended.err
