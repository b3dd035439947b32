"""The boxes of a run as files for other tools: a CSV, and MegaDetector's format of a batch, which Timelapse reads."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from molino.transforms.parquet.scratch import read_scratch
from molino.transforms.parquet.shards import StagedFile, stream_view
from molino.transforms.report.spreadsheet import to_csv
from molino.transforms.whales.extract import BOX, TOLD
from molino.transforms.whales.find_salient_region import PRESENT

CSV, JSON = "boxes.csv", "megadetector.json"
COLUMNS = ("key", "status", "presence", "width", "height", *BOX, "share", "score", *TOLD, "crop_file")  # of the CSV
ANIMAL = "1"  # MegaDetector's category


def write_boxes(files: Sequence[StagedFile], folder: str, *, method: str, form: str) -> Iterator[StagedFile]:
    """Stage the boxes of all images, in order, from their cards; the CSV in a form of `to_csv`. Memory: a row group."""
    columns = [*COLUMNS, "detail", "failed"]
    yield stream_view(boxes_csv(read_scratch(files, "_cards", columns), form), folder=folder, name=CSV)
    pieces = megadetector_json(read_scratch(files, "_cards", columns), method=method)
    yield stream_view(pieces, folder=folder, name=JSON)


def boxes_csv(cards: Iterable[pa.RecordBatch], form: str) -> Iterator[bytes]:
    """Yield a CSV: each image's box in displayed pixels, empty where it has none. A reject's status is its reason."""
    yield to_csv([COLUMNS], form)
    for batch in cards:
        yield to_csv(zip(*(batch[name].to_pylist() for name in COLUMNS), strict=True), form, begins=False)


def megadetector_json(cards: Iterable[pa.RecordBatch], *, method: str) -> Iterator[bytes]:
    """Yield what MegaDetector writes of a batch, version 1.6 of its format: https://lila.science/megadetector-output-format."""
    info = {
        "format_version": "1.6",
        "detector": f"molino whales, {method}",
        "detector_metadata": {"typical_detection_threshold": PRESENT},
    }
    head = json.dumps({"info": info, "detection_categories": {ANIMAL: "animal"}})
    yield f'{head[:-1]}, "images": ['.encode()
    mark = "\n"
    for batch in cards:
        yield (mark + ",\n".join(json.dumps(detection(card)) for card in batch.to_pylist())).encode()
        mark = ",\n"
    yield b"\n]}\n"


def detection(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return an image as MegaDetector's format has it: the box relative to the displayed image, presence as `conf`.

    Its program adds the time in the form of EXIF, which is no part of the format but may be there.

    >>> box = {"x": 10, "y": 20, "box_width": 50, "box_height": 40, "width": 100, "height": 80, "taken": None}
    >>> detection({"key": "w.jpg", "failed": False, "presence": 0.75, **box})["detections"]
    [{'category': '1', 'conf': 0.75, 'bbox': [0.1, 0.25, 0.5, 0.5]}]
    """
    if card["failed"]:
        return {"file": card["key"], "failure": f"{card['status']}: {card['detail']}", "detections": None}
    sides = (card["width"], card["height"]) * 2
    found = [] if card["x"] is None else [[round(card[name] / side, 6) for name, side in zip(BOX, sides, strict=True)]]
    taken = {"datetime": f"{card['taken']:%Y:%m:%d %H:%M:%S}"} if card["taken"] else {}
    detections = [{"category": ANIMAL, "conf": card["presence"], "bbox": box} for box in found]
    return {"file": card["key"], **taken, "detections": detections}
