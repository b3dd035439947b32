"""The dataset card of an output: README.md, which says what stands there, and by which Hugging Face loads it."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from molino.schemas import DOC_KEY

CARD = "README.md"
INPUTS = 20  # more than these nobody reads
SPLIT = "train"  # of data sets without splits, as Hugging Face calls what is not parted


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """What the dataset card of a run says besides the manifest."""

    about: str  # what the job does, in one line
    personal: str = ""  # what the data tells of people; "" for nothing
    # the columns of each data set, as `describe_fields` returns them
    fields: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def render(self, manifest: Mapping[str, Any]) -> bytes:
        """Return the card, in UTF-8; it depends on nothing that differs between two runs that write the same.

        Its head lists the files of each data set as a configuration, so that `load_dataset(OUTPUT, "people")` reads
        what the manifest lists, and nothing else. The largest is what is loaded without a name.
        """
        datasets = {name: entry for name, entry in manifest["datasets"].items() if entry["files"]}
        title = f"{manifest['job']}: {self.about}" if self.about else manifest["job"]
        parts = [_head(datasets, title), f"# {title}\n"]
        if self.personal:
            parts.append(f"> **Personal data**: {self.personal}. Share it only with those who may see it.\n")
        rows = [
            (f"`{name}`", f"{entry['rows']:,}", len(entry["files"]), f"`{entry['schema']}` {entry['version']}")
            for name, entry in manifest["datasets"].items()
        ]
        contents = _table(("data set", "rows", "files", "schema and version"), rows)
        parts += [f"## What is here\n\n{contents}", _reading(datasets)]
        parts += [f"## {name}\n\n{fields}" for name, fields in self.fields.items()]
        parts += _of_run(manifest)
        return "\n".join(parts).encode(errors="backslashreplace")


def describe_fields(schema: pa.Schema) -> str:
    """Return a table of the columns of a data set."""
    rows = []
    for field in schema:
        doc = (field.metadata or {}).get(DOC_KEY, b"").decode()
        rows.append((f"`{field.name}`", f"`{field.type}`", "yes" if field.nullable else "", doc))
    return _table(("field", "type", "null", "what it is"), rows)


def _head(datasets: Mapping[str, Any], title: str) -> str:
    """Return the card's head in YAML, of which JSON is a part."""
    largest = max(datasets, key=lambda name: datasets[name]["rows"], default="")
    configs = []
    for name, entry in datasets.items():
        splits: dict[str, list[str]] = {}
        for file in entry["files"]:
            splits.setdefault(file.get("split", SPLIT), []).append(file["path"])
        files = [{"split": split, "path": paths} for split, paths in splits.items()]
        configs.append({"config_name": name, "data_files": files} | ({"default": True} if name == largest else {}))
    lines = [f"- {json.dumps(config, ensure_ascii=False)}" for config in configs]
    return "\n".join(["---", f"pretty_name: {json.dumps(title, ensure_ascii=False)}", "configs:", *lines, "---\n"])


def _reading(datasets: Mapping[str, Any]) -> str:
    name = next(iter(datasets), "people")
    return f"""\
## How to read it

`_manifest.json` lists the files of each data set; files of earlier runs may lie beside them, so read no glob.

```python
import molino
table = molino.open("OUTPUT").read("{name}")          # an Arrow table

import datasets
rows = datasets.load_dataset("OUTPUT", "{name}")      # Hugging Face
```
"""


def _of_run(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was counted, read and asked for, and what to know of it."""
    # how many work units there were, and how many a stopped run had left, is of the run and not of the rows
    counters = [(f"`{name}`", f"{n:,}") for name, n in manifest["counters"].items() if not name.startswith("units")]
    yield "## Counters\n\n" + _table(("counter", "count"), counters)
    inputs = manifest["inputs"]
    rows = [(f"`{one['path']}`", "" if one.get("bytes") is None else f"{one['bytes']:,}") for one in inputs[:INPUTS]]
    more = f"\nand {len(inputs) - INPUTS:,} more\n" if len(inputs) > INPUTS else ""
    source = _table(("input", "bytes"), rows) + more if rows else "The job made it; nothing was read.\n"
    yield "## Source\n\n" + source
    values = {name: json.dumps(value, ensure_ascii=False) for name, value in manifest["options"].items()}
    yield "## Options\n\n" + _table(("option", "value"), [(f"`{name}`", f"`{text}`") for name, text in values.items()])
    if warnings := manifest["warnings"]:
        yield "## Warnings\n\n" + "".join(f"- {warning['text']}\n" for warning in warnings)


def _table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    # a cell stands on one line, without bars of its own
    lines = [
        [" ".join(str(value).replace("|", "\\|").split()) for value in line]
        for line in (titles, ["---"] * len(titles), *rows)
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
