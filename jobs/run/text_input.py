"""What a job that reads text finds in its input before it runs."""

import argparse
import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from molino.jobs.forecast.estimate import Size
from molino.jobs.job import Plan, Warn
from molino.jobs.options import is_embedded
from molino.jobs.run.inputs import input_files
from molino.jobs.run.output import cut
from molino.transforms.errors import DataError
from molino.transforms.files.list_files import Listing
from molino.transforms.text.encodings import warn_of_text
from molino.transforms.text.fields import warn_of_fields
from molino.transforms.text.look import look_at
from molino.transforms.text.row_groups import BATCH_ROWS
from molino.transforms.text.sources import KEPT, Source, TextFormat, list_sources, settle_format, split_sources
from molino.transforms.warnings import DataWarning, many


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextInput:
    """The texts to read, and what a look at them saw."""

    text: TextFormat  # their format, with what the sources say of it
    sources: list[Source]  # all of them, in the order of the files
    heads: tuple[tuple[Source, bytes], ...]  # of a few of them, see `Look`
    bytes: int  # of all texts
    blocks: int  # of the output, and the next its shards; 0 where rows are not brought together
    shards: int
    span_bytes: int  # read at a time
    findings: tuple[str, ...]  # what they are, for who plans a run
    warnings: tuple[DataWarning, ...]  # what is doubtful about them
    warn: tuple[Warn, ...]  # from the counters of a run to what its workers saw, in several parts

    def plan(
        self, *, amount: Mapping[str, Any], build: Callable[..., None], warn: Sequence[Warn] = (), **facts: Any
    ) -> Plan:
        """Return the plan of a job that brings its rows together in shards.

        `amount`: of what is to do, as `size` takes it. `build`: is given the texts' sources and span_bytes too. `warn`:
        besides those of the texts. `facts`: what else a plan has.
        """
        return Plan(
            build=functools.partial(build, sources=self.sources, span_bytes=self.span_bytes),
            warnings=self.warnings,
            warn=[*self.warn, *warn],
            findings=self.findings,
            total_bytes=self.bytes,
            size=functools.partial(self.size, **amount),
            **facts,
        )

    def size(
        self,
        *,
        dataset: str,
        keyed: Callable[..., Any] | None = None,
        models: int = 0,
        amounts: Mapping[str, float] = MappingProxyType({}),
    ) -> Size:
        """Return what a job has to do that reads these texts and brings their rows together in shards.

        `dataset`: the one that has a row for each that is read. `keyed`: see `take_sample`. `models`: bytes of the
        models that it asks. `amounts`: of the job's own, for each row.
        """
        from molino.transforms.text.take_sample import take_sample  # it loads Beam

        rows_a_byte, row_bytes, piece_bytes = take_sample(self.heads, self.text, keyed)
        tables = sum(rows for source in self.sources for rows, _ in source.groups)
        plain = [source for source in self.sources if not (source.is_table or source.empty)]
        texts = sum(source.bytes - source.start for source in plain)
        rows, total = round(tables + texts * rows_a_byte), sum(source.bytes for source in self.sources)
        spans = len(split_sources(self.sources, self.span_bytes, quoted=self.text.framed))
        # batches of Parquet and of quoted text have so many rows whatever the span
        batches = rows / BATCH_ROWS if self.text.framed or tables else texts / self.span_bytes
        pieces = self.shards * max(spans, math.ceil(batches))
        shuffle, overhead = round(rows * row_bytes), round(pieces * piece_bytes)
        # a worker holds a shard, or the span that it reads
        chunk = shuffle * max(1 / self.shards, min(1.0, self.span_bytes / max(1, total)))
        own = {name: rows * each for name, each in amounts.items()}
        return Size(
            rows=rows,
            exact=not texts,
            datasets={dataset: rows},
            files=len(self.sources),
            read_bytes=total,
            shuffle_bytes=shuffle + overhead,
            overhead_bytes=overhead,
            parts={"read": spans, "write": self.shards},
            amounts={"rows": rows, "bytes": total, "pieces": pieces, "chunk": chunk, "models": models, **own},
        )


def text_input(
    args: argparse.Namespace,
    inputs: Sequence[Listing],
    text: TextFormat,
    *,
    words: Sequence[str] = (),
    loose: Sequence[str] = (),
    block_bytes: int = 0,
) -> TextInput:
    """Look at the input of a job.

    `words`, `loose`: see `warn_of_fields`. `block_bytes`: see `cut`; 0 for a job that brings no rows together. Raises
    DataError: a file is no text with the wanted columns, or none of them has any records, and that is not allowed.
    """
    sources = list_sources(input_files(inputs), text, args.command)
    text = settle_format(sources, text)
    empty = [source.label for source in sources if source.empty]
    if len(empty) == len(sources) and not args.allow_empty:
        raise DataError(f"no input holds any records ({', '.join(empty[:5])}); check the paths, or add --allow-empty")
    look = look_at(sources, text, args.command)
    warnings = list(look.warnings)
    if empty:
        told = f"{len(empty):,} of {many(len(sources), 'text')} without a record"
        warnings.append(DataWarning("input.empty", told, len(empty), empty[0], "check that they are complete"))
    size = sum(source.bytes for source in sources)
    blocks, shards, few = cut(size, block_bytes=block_bytes, shards=args.shards) if block_bytes else (0, 0, [])
    # words of this machine, paths say, are not for workers on others: a remedy then names the options alone
    command = args.command if is_embedded(args.runner) else dataclasses.replace(args.command, words=())
    columns = {name: column for source in sources for name, column in source.columns.items()}
    return TextInput(
        text=text,
        sources=sources,
        heads=look.heads,
        bytes=size,
        blocks=blocks,
        shards=shards,
        span_bytes=args.span_bytes if block_bytes else 0,
        findings=look.kinds,
        warnings=(*warnings, *few),
        warn=(
            functools.partial(warn_of_text, encoding=text.encoding, command=command),
            functools.partial(
                warn_of_fields,
                columns={name: column for name, column in columns.items() if not name.startswith(KEPT)},
                words=words,
                loose=loose,
                optional=text.optional,
                command=command,
            ),
        ),
    )
