"""Arrow schemas: the contract between a job and whatever reads its output."""

import pyarrow as pa

NAME_KEY = b"molino.schema"
VERSION_KEY = b"molino.version"
DOC_KEY = b"doc"


def field(name: str, type_: pa.DataType, doc: str, *, nullable: bool = False) -> pa.Field:
    """Return a field that carries its own documentation; values are never null unless `nullable`."""
    return pa.field(name, type_, nullable=nullable, metadata={DOC_KEY: doc.encode()})


def schema(name: str, version: int, *fields: pa.Field) -> pa.Schema:
    """Return a schema that carries its own name and version, as they stand in every Parquet footer."""
    return pa.schema(fields, metadata={NAME_KEY: name.encode(), VERSION_KEY: str(version).encode()})


def name_of(schema_: pa.Schema) -> tuple[str, int]:
    """Return the (name, version) of a schema; raise ValueError when it carries none.

    >>> name_of(schema("people", 2))
    ('people', 2)
    """
    metadata = schema_.metadata or {}
    if NAME_KEY not in metadata or VERSION_KEY not in metadata:
        raise ValueError("the schema carries no name and version: it was not written by a molino job")
    return metadata[NAME_KEY].decode(), int(metadata[VERSION_KEY])
