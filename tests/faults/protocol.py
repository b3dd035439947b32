"""One attempt at a run, without Beam: lease, staged files, commit, and what the command does after a failure."""

import dataclasses
import hashlib
import io

import pyarrow as pa
import pyarrow.parquet as pq

from molino.jobs.run import command, commit, runs
from molino.jobs.run.lock import Lock
from molino.jobs.run.output import read_output
from molino.schemas import field, name_of, schema
from molino.transforms.files import storage
from molino.transforms.parquet.shards import StagedFile, write_view
from molino.transforms.rows.digest import digest

ROWS = schema("protocol.rows", 1, field("run", pa.string(), "Which run wrote it"))
SHARDS = 2


def make_run(output, content):
    """Return a run whose rows and view say `content`; the same content is the same run."""
    return runs.Run(
        job="protocol",
        output=output,
        id=hashlib.sha256(content.encode()).hexdigest(),
        work=hashlib.sha256(content.encode()).hexdigest(),
        options={"content": content},
        inputs=(),
        code={"version": "0", "digest": "0"},
        datasets={"rows": name_of(ROWS)},
        balance=("rows_read", ("rows",)),
        counted=("rows",),
        max_reject_ratio=0.0,
    )


def shard_of(content, number):
    """Return the bytes of a shard, and the digest of its rows."""
    batch = pa.RecordBatch.from_pydict({"run": [f"{content} {number}"]}, schema=ROWS)
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_batches([batch]), sink)
    return sink.getvalue(), digest(batch)


def stage(run, content):
    """Write the files of a run below its staging folder, and return them."""
    files = []
    for number in range(SHARDS):
        data, rows = shard_of(content, number)
        path = storage.join(run.staging, "rows", f"{number}.parquet")
        storage.write_bytes(path, data)
        files.append(
            StagedFile(
                dataset="rows",
                path=path,
                bytes=len(data),
                sha256=hashlib.sha256(data).hexdigest(),
                key=(number,),
                rows=1,
                schema=name_of(ROWS),
                digests=(rows,),
            )
        )
    return [*files, write_view(content.encode(), folder=run.staging, name="view.txt")]


def attempt(output, content, *, crash=lambda step: None, lock=Lock, tries=1, keep_previous=1):
    """Do a run as the command does it; return its content, which the output held then.

    Args:
      tries: how often a runner tries the last step.

    Raises:
      BusyError, DataError: as the command.
    """
    run = dataclasses.replace(make_run(output, content), keep_previous=keep_previous)
    seen = read_output(output)
    if seen.holds(run, overwrite=True) and not seen.leftovers():
        return content
    with lock(output, run.token) as held:
        seen = read_output(output)
        if seen.holds(run, overwrite=True):
            seen.clean(run.token)
            return content
        run = dataclasses.replace(run, parent=seen.parent)
        try:
            files = stage(run, content)
            for left in reversed(range(tries)):
                try:
                    commit.publish(run, files, {"rows_read": SHARDS, "rows": SHARDS}, crash)
                    break
                except Exception:
                    if not left:
                        raise
        except BaseException as error:
            command.recover(run, held, error)
        runs.clear_staging(run, units=True)
    return content
