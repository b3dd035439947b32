"""Arrow schemas: the contract between a job and whatever reads its output."""

import importlib
import pkgutil

import pyarrow as pa

NAME_KEY = b"molino.schema"
VERSION_KEY = b"molino.version"
DOC_KEY = b"doc"


def field(name: str, type_: pa.DataType, doc: str, *, nullable: bool = False) -> pa.Field:
    """Return a field that carries its own documentation; values are never null unless `nullable`."""
    return pa.field(name, type_, nullable=nullable, metadata={DOC_KEY: doc.encode()})


def optional(name: str, type_: pa.DataType, doc: str) -> pa.Field:
    """Return a field that carries its own documentation; values may be null."""
    return field(name, type_, doc, nullable=True)


def list_of(type_: pa.DataType, size: int = -1, *, item: str = "element") -> pa.DataType:
    """Return the type of lists without nulls inside, of `size` values where that is given."""
    return pa.list_(pa.field(item, type_, nullable=False), size)


def schema(name: str, version: int, *fields: pa.Field) -> pa.Schema:
    """Return a schema that carries its own name and version, as they stand in every Parquet footer."""
    return pa.schema(fields, metadata={NAME_KEY: name.encode(), VERSION_KEY: str(version).encode()})


def name_of(schema_: pa.Schema) -> tuple[str, int]:
    """Return the (name, version) of a schema; raise ValueError when it carries none."""
    metadata = schema_.metadata or {}
    if NAME_KEY not in metadata or VERSION_KEY not in metadata:
        raise ValueError("the schema carries no name and version: it was not written by a molino job")
    return metadata[NAME_KEY].decode(), int(metadata[VERSION_KEY])


def find_schema(name: str, version: int) -> pa.Schema | None:
    """Return the schema of a name and version that this program writes, if there is one.

    >>> find_schema("names.apellidos", 1).names
    ['apellido', 'frec_pri', 'frec_seg']
    """
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, pa.Schema) and name_of(value) == (name, version):
                return value
    return None
