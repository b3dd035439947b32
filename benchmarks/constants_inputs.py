"""The made-up inputs of benchmarks/constants.py, and the options that each is run with."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks import harness

NAMES = (400_000, 3_200_000)
TITLES = (100_000, 1_600_000)
PREDICT = (20_000, 400_000)
VECTORS = ((200_000, 128), (1_600_000, 128), (800_000, 32))
IMAGES = ((20, 1500, 1000), (400, 1500, 1000), (400, 600, 400))
POINTS = (20_000, 2_000_000)


def _molino(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "molino", *map(str, words)], cwd=harness.ROOT, check=True)


def _cached(path: Path, *words: object) -> Path:
    """Return a path, made unless it is there, with its files in the page cache."""
    if not path.exists():
        _molino(*words, "--output", path)
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file():
            harness.load_into_cache(file)
    return path


def names(data: Path) -> list[tuple[str, ...]]:
    """Payrolls of two sizes."""
    paths = [_cached(data / f"names-{rows}.txt", "sample", "names", "--rows", rows) for rows in NAMES]
    return [("--input", str(path)) for path in paths]


def titles(data: Path) -> list[tuple[str, ...]]:
    """Titles of two sizes, without a model and with a small one."""
    paths = [_cached(data / f"titles-{rows}.csv", "sample", "titles", "--rows", rows) for rows in TITLES]
    few, many = map(str, paths)
    return [("--input", few), ("--input", many), ("--input", many, "--model", f"m={_model(data)}")]


def _model(data: Path) -> Path:
    source = _cached(data / "titles-20000.csv", "sample", "titles", "--rows", 20_000)
    if not (data / "model").exists():
        _molino("model", "train", "--input", source, "--output", data / "model", "--dim", 128, "--epochs", 1)
    return data / "model"


def predict(data: Path) -> list[tuple[str, ...]]:
    """Titles of two sizes, and a classifier of as many categories as made-up titles have."""
    model = _model(data)
    source = _cached(data / "titles-20000.csv", "sample", "titles", "--rows", 20_000)
    if not (data / "classifier").exists():
        _molino("titles", "--input", source, "--model", f"m={model}", "--output", data / "run", "--quiet")
        train = ("train", "titles", "--input", data / "run", "--model", f"m={model}", "--epochs", 1)
        _molino(*train, "--output", data / "classifier")
    paths = [_cached(data / f"titles-{rows}.csv", "sample", "titles", "--rows", rows) for rows in PREDICT]
    return [("--input", str(path), "--model", str(data / "classifier")) for path in paths]


def pca(data: Path) -> list[tuple[str, ...]]:
    """Vectors of two sizes, and as many shorter ones."""
    lines = []
    for rows, numbers in VECTORS:
        name = f"vectors-{rows}-{numbers}.parquet"
        path = _cached(data / name, "sample", "pca", "--rows", rows, "--numbers", numbers)
        lines.append(("--input", str(path), "--column", "vector"))
    return lines


def whales(data: Path) -> list[tuple[str, ...]]:
    """Photographs, few and more, large and small, with crops and without."""
    folders = []
    for images, width, height in IMAGES:
        size = ("--images", images, "--width", width, "--height", height)
        folders.append(_cached(data / f"sea-{images}-{width}", "sample", "whales", *size) / "images")
    few, many, small = map(str, folders)
    return [("--input", few), ("--input", many), ("--input", small), ("--input", many, "--crop-quality", "0")]


def shapes(data: Path) -> list[tuple[str, ...]]:
    """A sweep of few steps and one of more, on few points and on more, with and without pictures."""
    sweeps = []
    for name, hidden, steps in (("short", [10, 100, 1000], 301), ("long", [1000, [100, 100, 100]], 1501)):
        block = {"problem": ["circle", "ring"], "hidden": hidden, "batch": 1000, "steps": steps}
        path = data / f"sweep-{name}.yaml"
        path.write_text(json.dumps([block]), encoding="utf-8")  # JSON is YAML
        sweeps.append(str(path))
    (short, long), (few, many) = sweeps, map(str, POINTS)
    lines = [("--sweep", short, "--rows", few), ("--sweep", long, "--rows", few)]
    return [*lines, *(("--sweep", short, "--rows", rows, "--no-plots") for rows in (few, many))]


INPUTS = {"names": names, "titles": titles, "predict": predict, "pca": pca, "whales": whales, "shapes": shapes}
