"""Write docs/schemas.md, and the tables of counters and reasons in other pages, from schemas/: `make docs`."""

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the schemas of this checkout, installed or not

from molino import schemas  # noqa: E402

PAGE = ROOT / "docs/schemas.md"
MARK = re.compile(r"(<!-- (counters|reasons) (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
COLUMNS = {"counters": ("counter", "what it counts"), "reasons": ("reason", "what was wrong")}
HEAD = """\
# Schemas

What every job writes, field by field. `make docs` makes this page from `schemas/`; a test compares the two.

A schema has a name and a version. Both stand in the footer of every Parquet file, under the keys `molino.schema` and
`molino.version`, and in the [manifest](runs.md#the-manifest). The text of a field stands in the footer too, under the
field's key `doc`. A reader compares name and version with those that it was written for, and stops where they differ.

A field is never null unless the column "null" says so.
"""


def find_schemas() -> Iterator[tuple[str, str, list]]:
    """Yield every module of schemas/ that defines any: (module, its docstring, [(constant, schema)])."""
    seen: set[tuple[str, int]] = set()
    for info in pkgutil.iter_modules(schemas.__path__, "molino.schemas."):
        module = importlib.import_module(info.name)
        found = []
        for constant, value in vars(module).items():
            # a schema that a module imports from another is shown once
            if isinstance(value, pa.Schema) and schemas.name_of(value) not in seen:
                seen.add(schemas.name_of(value))
                found.append((constant, value))
        if found:
            yield info.name, (module.__doc__ or "").strip(), found


def render() -> str:
    """Return the page."""
    parts = [HEAD]
    for module, about, found in find_schemas():
        parts.append(f"## {module}\n\n{about}\n")
        optional = getattr(importlib.import_module(module), "WITH_OPTIONS", {})
        for constant, schema in found:
            name, version = schemas.name_of(schema)
            rows = [
                f"| `{field.name}` | `{field.type}` | {'yes' if field.nullable else ''} "
                f"| {_cell((field.metadata or {}).get(schemas.DOC_KEY, b'').decode())}"
                f"{'' if field.name in schema.names else '; only there by option'} |"
                for field in optional.get(name, schema)
            ]
            table = "\n".join(["| field | type | null | what it is |", "|---|---|---|---|", *rows])
            parts.append(f"### {name}\n\nVersion {version}, `{module}.{constant}`.\n\n{table}\n")
    return "\n".join(parts)


def fill(page: str) -> str:
    """Return a page with its tables of counters and of reasons to reject as the schemas have them."""

    def table(mark: re.Match[str]) -> str:
        head, what, job, end = mark.groups()
        meanings = getattr(importlib.import_module(f"molino.schemas.{job}"), what.upper())
        rows = [COLUMNS[what], ("---", "---"), *((f"`{name}`", _cell(text)) for name, text in meanings.items())]
        return head + "".join(f"| {name} | {text} |\n" for name, text in rows) + end

    return MARK.sub(table, page)


def _cell(text: str) -> str:
    return re.sub(r"--[a-z-]+( keep| reject)?", r"`\g<0>`", text.replace("|", "\\|").replace("<", "&lt;"))


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    for path in PAGE.parent.glob("*.md"):
        page = path.read_text(encoding="utf-8")
        if fill(page) != page:
            path.write_text(fill(page), encoding="utf-8")
