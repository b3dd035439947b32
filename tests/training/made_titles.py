"""A finished run of the titles job, made by hand: a few categories whose vectors and words tell them apart."""

import itertools
import random

import numpy as np
import pyarrow as pa

from molino.schemas import field, schema
from molino.schemas.titles import LABELS
from tests.training.made_run import publish, write_tables

DIM = 6
WORDS = {
    "TABLES": ["Mesa", "Ratona", "Comedor", "Roble"],
    "CHAIRS": ["Silla", "Apilable", "Jardín", "Oficina"],
    "CUPS": ["Taza", "Cerámica", "Café", "Jarro"],
    "LAMPS": ["Lámpara", "Colgante", "Led", "Velador"],
}
SPLITS = ("train", "validation", "test")
SHARES = (0.6, 0.2, 0.15, 0.05)


def titles_schema(version=1):
    vector = pa.list_(pa.field("element", pa.float32(), nullable=False), DIM)
    return schema(
        "titles.titles",
        version,
        field("id", pa.int64(), "Id"),
        field("title", pa.string(), "Title"),
        field("language", pa.string(), "Language", nullable=True),
        field("category", pa.string(), "Category", nullable=True),
        field("label", pa.int32(), "Label"),
        field("split", pa.string(), "Split"),
        field("es", vector, "Vectors"),
        field("en", vector, "Vectors, noisier"),
    )


def make_titles(count, *, seed=0, unseen=0):
    """Return a table of titles; the last `unseen` are of a category that training has none of."""
    numbers, names = random.Random(seed), list(WORDS)
    draws = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(size=(len(names), DIM))
    labels = draws.choice(len(names), count, p=SHARES).astype(np.int32)
    titles = [" ".join([*numbers.choices(WORDS[names[label]], k=2), f"X{numbers.randrange(99)}"]) for label in labels]
    splits = np.array(["train", "train", "train", "validation", "test"])[np.arange(count) % 5]
    categories = [names[label] for label in labels]
    for place in range(count - unseen, count):
        categories[place], labels[place], splits[place] = "NOVEL", -1, "test"
    vectors = [centers[labels] + noise * draws.normal(size=(count, DIM)) for noise in (0.7, 1.2)]
    of = titles_schema().field("es").type
    return [
        pa.array(np.arange(count, dtype=np.int64) + 1000),
        pa.array(titles),
        pa.array(["spanish", "portuguese"] * (count // 2) + ["spanish"] * (count % 2)),
        pa.array(categories),
        pa.array(labels),
        pa.array(splits),
        *(pa.FixedSizeListArray.from_arrays(pa.array(v.astype(np.float32).ravel()), type=of) for v in vectors),
    ]


def write_titles(folder, count=600, *, shards=2, version=1, **how):
    """Write a run; return its manifest."""
    of = titles_schema(version)
    table = pa.Table.from_arrays(make_titles(count, **how), schema=of)
    cuts = np.linspace(0, count, shards + 1).astype(int)
    tables = [table.slice(start, stop - start) for start, stop in itertools.pairwise(cuts)]
    manifest = write_tables(folder, "titles", of, tables, group=64)
    labels, splits = np.array(table["label"]), np.array(table["split"])
    rows = [
        (label, name, *(int(np.sum((labels == label) & (splits == split))) for split in SPLITS))
        for label, name in enumerate(WORDS)
    ]
    if how.get("unseen"):
        rows.append((-1, "NOVEL", 0, 0, how["unseen"]))
    columns = [pa.array(column, each.type) for column, each in zip(zip(*rows, strict=True), LABELS, strict=True)]
    listed = write_tables(folder, "labels", LABELS, [pa.Table.from_arrays(columns, schema=LABELS)])
    manifest["datasets"] |= listed["datasets"]
    publish(folder, manifest)
    return manifest
