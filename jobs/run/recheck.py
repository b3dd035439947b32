"""Recheck a finished run from its manifest."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from molino.jobs.run.output import read_output
from molino.schemas import name_of
from molino.transforms.errors import DataError
from molino.transforms.files import storage
from molino.transforms.manifest import MANIFEST, SUCCESS, owned_paths
from molino.transforms.rows.digest import combine_digests, digest


def verify(output: str) -> tuple[dict[str, Any], list[str]]:
    """Recheck a finished run from its manifest, reading every byte; return the manifest and what is wrong.

    Memory: one row group.
    """
    present = read_output(output)
    manifest = present.manifest
    if manifest is None:
        raise DataError(f"{output} holds no finished run: there is no {MANIFEST}")
    wrong = []
    for name, dataset in manifest["datasets"].items():
        digests: list[str] = []
        for file in dataset["files"]:
            wrong += _file_faults(output, file, (dataset["schema"], dataset["version"]), digests)
        if not wrong and combine_digests(digests) != dataset["digest"]:
            wrong.append(f"{name}: the rows are not those that were written (digest)")
        if dataset["rows"] != (rows := sum(file["rows"] for file in dataset["files"])):
            wrong.append(f"{name}: {dataset['rows']:,} rows, but its files have {rows:,}")
    for view in manifest["views"]:
        wrong += _byte_faults(output, view)
    whole, parts = manifest["balance"]
    counters = manifest["counters"]
    if counters.get(whole, 0) != sum(counters.get(part, 0) for part in parts):
        wrong.append(f"the counters do not add up: {whole} is not the sum of {', '.join(parts)}")
    if not present.is_finished:
        wrong.append(f"{SUCCESS} is missing or not of this manifest: a commit was cut short; repeat the run")
    wrong += [f"{path}: not part of the run" for path in present.foreign(owned_paths(manifest))]
    return manifest, wrong


def _byte_faults(output: str, entry: Mapping[str, Any]) -> list[str]:
    path = storage.join(output, entry["path"])
    if not storage.exists(path):
        return [f"{entry['path']}: missing"]
    size, sha256 = storage.hash_file(path)
    if size != entry["bytes"]:
        return [f"{entry['path']}: {size:,} bytes, {entry['bytes']:,} were written"]
    return [] if sha256 == entry["sha256"] else [f"{entry['path']}: the bytes changed (sha256)"]


def _file_faults(output: str, entry: Mapping[str, Any], schema: tuple[str, int], digests: list[str]) -> list[str]:
    if wrong := _byte_faults(output, entry):
        return wrong
    with storage.open_input(storage.join(output, entry["path"])) as data:
        try:
            file = pq.ParquetFile(data, page_checksum_verification=True)
            found = name_of(file.schema_arrow)
            for group in range(file.num_row_groups):
                digests += [digest(batch) for batch in file.read_row_group(group).combine_chunks().to_batches()]
        except (pa.ArrowException, OSError, ValueError) as error:
            return [f"{entry['path']}: not readable ({' '.join(str(error).split())[:120]})"]
    if found != tuple(schema):
        wrong.append(f"{entry['path']}: schema {found[0]} {found[1]}, the manifest says {schema[0]} {schema[1]}")
    if file.metadata.num_rows != entry["rows"]:
        wrong.append(f"{entry['path']}: {file.metadata.num_rows:,} rows, {entry['rows']:,} were written")
    return wrong
