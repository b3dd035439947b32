"""The same input and options give the same bytes: for any workers, pieces, shuffle, hash seed, locale and time zone."""

import pytest

from molino.transforms.names.sample import sample_names
from tests.faults.fault_harness import (
    ANOTHER_USERS,
    SMALL_BLOCKS,
    bytes_of,
    digests_of,
    environment,
    manifest_of,
    names,
    side_by_side,
)

pytestmark = pytest.mark.slow

SAME = {
    "4 workers": (["--workers", 4], {}),
    "processes of another user": (["--workers", 2, "--worker-mode", "processes"], ANOTHER_USERS),
    "runner's shuffle": (["--shuffle", "runner"], {}),
    "small pieces": (["--span-bytes", 5000], {}),
    "small pieces, 1 worker, runner's shuffle": (["--span-bytes", 20000, "--workers", 1, "--shuffle", "runner"], {}),
}
SHARDS = {"1 shard": 1, "7 shards": 7}
OPTIONS = ["--repair-names", "--invalid-curp", "reject", "--max-reject-ratio", 0.1]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Run the job in every way; {case: output}."""
    folder = tmp_path_factory.mktemp("same")
    sample_names(str(folder / "in/sep.txt"), rows=6000, files=3, hostile=True)
    files = sorted((folder / "in").iterdir())
    # many blocks, as a large input would have
    plain = environment(folder, SMALL_BLOCKS)

    def run(case, sources, options, variables):
        output = folder / case.replace(" ", "_")
        ended = names(sources, output, *OPTIONS, *options, env={**plain, **variables})
        assert ended.code == 0, ended.err
        return case, output

    calls = [lambda: run("plain", files, [], {}), lambda: run("their folder", [folder / "in"], [], {})]
    calls += [lambda c=case: run(c, files, *SAME[c]) for case in SAME]
    calls += [lambda c=case: run(c, files, ["--shards", SHARDS[c]], {}) for case in SHARDS]
    return dict(side_by_side(calls))


@pytest.mark.parametrize("case", [*SAME, "their folder"])
def test_the_bytes_are_the_same(case, outputs):
    assert bytes_of(outputs[case]) == bytes_of(outputs["plain"])
    assert manifest_of(outputs[case])["digest"] == manifest_of(outputs["plain"])["digest"]
    assert manifest_of(outputs[case])["counters"] == manifest_of(outputs["plain"])["counters"]


@pytest.mark.parametrize("case", SHARDS)
def test_the_digests_do_not_depend_on_the_shards(case, outputs):
    assert digests_of(outputs[case]) == digests_of(outputs["plain"])
    assert len(manifest_of(outputs[case])["datasets"]["people"]["files"]) == SHARDS[case]
