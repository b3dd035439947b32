"""The last step of every pipeline: verify and commit its run."""

import dataclasses
from collections.abc import Mapping

import apache_beam as beam

from molino.jobs.run import commit
from molino.jobs.run.claim import read_claim
from molino.jobs.run.lock import changer, read_lock, release
from molino.jobs.run.runs import Run, clear_staging
from molino.transforms.parquet.shards import StagedFile
from molino.transforms.rows.batches import sum_counters
from molino.transforms.rows.gather import Gather


def _publish(files: list[StagedFile], counters: list[Mapping[str, int]], run: Run) -> str:
    commit.publish(run, files, sum_counters(counters), commit.crash_point)
    claim = read_claim(read_lock(run.output))
    launched = bool(claim and claim.token == run.token and claim.job_file)
    if launched or not claim:  # the first time or once more: no command waits for the end to tidy up
        clear_staging(run, units=True)
    if launched:
        release(changer(run.output), run.token)
    return run.id


@dataclasses.dataclass(kw_only=True)
class Publish(beam.PTransform):
    """Verify and commit a run: the last step of every pipeline.

    It stands in the pipeline, not in the program that submits it, which may be gone when a cluster finishes.
    Input: all StagedFiles of the run.
    """

    run: Run  # what is published
    counters: beam.PCollection  # mappings of counts, summed over the whole run

    def expand(self, files: beam.PCollection) -> beam.PCollection:
        arguments = {"counters": beam.pvalue.AsList(self.counters), "run": self.run}
        return files | "Commit" >> Gather(into=_publish, arguments=arguments)
