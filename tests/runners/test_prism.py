"""Every job on Prism, Beam's portable runner: the content is what the embedded runner gives, digest by digest.

Prism is a program of its own: go install github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0.
"""

import pytest

from tests.every_job import JOBS, digests, find_prism, molino, run_embedded

PRISM = find_prism()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(PRISM is None, reason="there is no prism in PATH or ~/go/bin"),
]


@pytest.mark.parametrize("job", JOBS)
def test_prism_gives_what_the_embedded_runner_gives(job, tmp_path):
    expected = run_embedded(job, tmp_path)
    prism = ("--runner", "PrismRunner", "--prism_location", PRISM, "--environment_type", "LOOPBACK")
    molino(job, *JOBS[job][1], "--output", "prism", "--quiet", *prism, cwd=tmp_path)
    assert digests(tmp_path / "prism") == expected
