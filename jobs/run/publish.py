"""The last step of every pipeline: verify and commit its run."""

import dataclasses
from collections.abc import Mapping

import apache_beam as beam

from molino.jobs.run import commit
from molino.jobs.run.claim import read_claim
from molino.jobs.run.lock import changer
from molino.jobs.run.manifest import LOCK
from molino.jobs.run.runs import Run
from molino.transforms.files import storage
from molino.transforms.parquet.shards import StagedFile
from molino.transforms.rows.batches import sum_counters
from molino.transforms.rows.gather import Gather


def _publish(files: list[StagedFile], counters: list[Mapping[str, int]], run: Run) -> str:
    ordered = sorted(files, key=lambda f: (f.dataset, f.key, f.name))
    commit.publish(run, ordered, sum_counters(counters), commit.crash_point)
    claim = read_claim(storage.see(storage.join(run.output, LOCK)).data or b"")
    if claim and claim.token == run.token and claim.job_file:  # no command waits for the end to tidy up
        storage.delete_tree(run.staging)
        storage.delete_tree(run.units)
        changer(run.output)(lambda held: b"" if (found := read_claim(held)) and found.token == run.token else held)
    return run.id


@dataclasses.dataclass(kw_only=True)
class Publish(beam.PTransform):
    """Verify and commit a run: the last step of every pipeline.

    It stands in the pipeline, not in the program that submits it, which may be gone when a cluster finishes.
    Input: all StagedFiles of the run.

    Attributes:
      run: what is published.
      counters: mappings of counts, summed over the whole run.
    """

    run: Run
    counters: beam.PCollection

    def expand(self, files: beam.PCollection) -> beam.PCollection:
        arguments = {"counters": beam.pvalue.AsList(self.counters), "run": self.run}
        return files | "Commit" >> Gather(into=_publish, arguments=arguments)
