"""Make the pictures of the pages: python docs/make_pictures.py [diagrams | whale | reports ...].

The diagram of the rooms is made from the imports of the code, and a test compares the two. The pictures of reports are
taken of what `make demo` has made, by Chromium, which must be in PATH.
"""

import argparse
import ast
import html
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout, installed or not

IMAGES = ROOT / "docs/images"
DEMO = ROOT / "demo"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
REPORTS = {
    "names": 1060,
    "titles": 1060,
    "predictions": 1060,
    "whales": 1060,
    "pca": 1060,
    "shapes": 1400,
}  # pixels high
WIDTH = 800

BOX, GAP, ROW, MARGIN = (138, 34), 14, 78, 12  # of diagrams: width and height of a box, between boxes, of a row
STYLE = (
    "text{font:13px system-ui,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#1f2933}"
    ".small{font-size:11px;fill:#52606d}rect{fill:#eef4fa;stroke:#7b9cc0;rx:6px}"
    ".kept{fill:#e8f5ee;stroke:#6fae8c}path{fill:none;stroke:#9aa5b1}marker path{fill:#9aa5b1;stroke:none}"
)

# what happens in a run, in order: what a module does, and where
STEPS = (
    ("read the command", "jobs/cli, options"),
    ("look at the input", "run/inputs, text_input"),
    ("plan", "jobs/JOB, forecast"),
    ("identify the run", "run/runs"),
    ("lock the output", "run/claim, lock"),
    ("build and run", "runners/pipeline"),
    ("stage files", "parquet/shards"),
    ("check the sums", "run/publish"),
    ("commit the manifest", "run/commit"),
    ("summary, report", "run/summary"),
)
ENDS = {
    3: "the same is there: exit 0; another: 3",
    4: "another is at work: exit 75",
    7: "they differ: exit 1, nothing changed",
}


# --- diagrams


def room_of(module: str) -> str:
    """Return the room of a module of this program, as diagrams name it; "" for what belongs to none.

    >>> room_of("molino.jobs.names"), room_of("molino.jobs.run.commit"), room_of("molino.transforms.whales.crop")
    ('jobs/JOB', 'jobs/run', 'transforms/JOB')
    """
    from molino import code

    parts = module.split(".")[1:]
    pipelines = set(code.pipelines())
    if len(parts) < 2 or parts[0] not in ("jobs", "transforms", "schemas", "training"):
        return parts[0] if parts[:1] == ["training"] else ""
    if parts[0] in ("schemas", "training"):
        return parts[0]
    if parts[1] in pipelines:
        return f"{parts[0]}/JOB"
    where = ROOT.joinpath(*parts[:2])
    return (
        "/".join(parts[:2]) if where.is_dir() else {"jobs": "jobs/cli" if parts[1] == "cli" else ""}.get(parts[0], "")
    )


def find_imports() -> dict[str, set[str]]:
    """Return which rooms each room imports, inside functions too."""
    found: dict[str, set[str]] = {}
    for top in ("jobs", "transforms", "schemas", "training"):
        for path in sorted((ROOT / top).rglob("*.py")):
            own = room_of("molino." + ".".join(path.relative_to(ROOT).with_suffix("").parts))
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module:
                    names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                rooms = {room_of(name) for name in names if name.startswith("molino.")} - {own, ""}
                if own:
                    found.setdefault(own, set()).update(rooms)
    # commands and jobs are found by name, by no import
    found.setdefault("jobs/cli", set()).update({"jobs/commands", "jobs/JOB"})
    found["jobs/commands"] |= {"jobs/train"}
    return found


def reduce_edges(edges: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return a graph without circles and without the edges that follow from others."""

    def reach(start: str) -> set[str]:
        return {start}.union(*(reach(end) for end in edges.get(start, ())))

    return {
        start: {end for end in ends if not any(end in reach(other) for other in ends - {end})}
        for start, ends in edges.items()
    }


def draw_rooms(edges: Mapping[str, set[str]]) -> str:
    """Return the SVG of the rooms: each above all that it imports, without the edges that follow from others."""
    reduced = reduce_edges(edges)

    def depth(room: str) -> int:
        return max((depth(above) + 1 for above, ends in edges.items() if room in ends), default=0)

    rows: dict[int, list[str]] = {}
    for room in sorted({*edges, *(end for ends in edges.values() for end in ends)}):
        rows.setdefault(depth(room), []).append(room)
    widest = max(len(row) for row in rows.values())
    width = widest * (BOX[0] + GAP) - GAP + 2 * MARGIN
    places = {}
    for number, row in sorted(rows.items()):
        # under the middle of what imports it
        above = {
            room: [places[one][0] for one, ends in reduced.items() if room in ends and one in places] or [width / 2]
            for room in row
        }
        row.sort(key=lambda room: (sum(above[room]) / len(above[room]), room))
        left = (width - len(row) * (BOX[0] + GAP) + GAP) / 2
        for place, room in enumerate(row):
            places[room] = (left + place * (BOX[0] + GAP) + BOX[0] / 2, MARGIN + number * ROW)
    body = [_arrow(places[start], places[end]) for start in sorted(reduced) for end in sorted(reduced[start])]
    body += [_box(*place, room) for room, place in sorted(places.items())]
    return _svg(width, MARGIN * 2 + max(rows) * ROW + BOX[1], body, "Rooms; an arrow leads to what a room imports")


def draw_run() -> str:
    """Return the SVG of a run: its steps, and where it may end before the last."""
    body = []
    for number, (what, where) in enumerate(STEPS):
        place = (MARGIN + 85, MARGIN + number * 54)
        if number:
            body.append(f'<path d="M{place[0]} {place[1] - 14}v9" marker-end="url(#a)"/>')
        kept = number >= len(STEPS) - 2
        body.append(_box(*place, what, kept=kept, width=170))
        body.append(f'<text class="small" x="{place[0] + 98}" y="{place[1] + 21}">{html.escape(where)}</text>')
        if number in ENDS:
            body.append(
                f'<text class="small" x="{place[0] + 250}" y="{place[1] + 21}">→ {html.escape(ENDS[number])}</text>'
            )
    return _svg(600, MARGIN * 2 + len(STEPS) * 54 - 20, body, "The steps of a run")


def _box(x: float, y: float, text: str, *, kept: bool = False, width: int = BOX[0]) -> str:
    mark = ' class="kept"' if kept else ""
    return (
        f'<rect{mark} x="{x - width / 2:g}" y="{y:g}" width="{width}" height="{BOX[1]}"/>'
        f'<text x="{x:g}" y="{y + 22:g}" text-anchor="middle">{html.escape(text)}</text>'
    )


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (to_x, to_y) = (start[0], start[1] + BOX[1]), (end[0], end[1] - 4)
    bend = min(40, (to_y - y) / 2)
    return (
        f'<path d="M{x:g} {y:g}C{x:g} {y + bend:g} {to_x:g} {to_y - bend:g} {to_x:g} {to_y:g}" marker-end="url(#a)"/>'
    )


def _svg(width: float, height: float, body: Sequence[str], title: str) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img">'
    marker = '<marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    parts = [head, f"<title>{title}</title><style>{STYLE}</style>"]
    parts += [f'<defs>{marker}<path d="M0 0L8 4L0 8z"/></marker></defs>']
    return "\n".join(
        [*parts, f'<rect width="{width:g}" height="{height:g}" style="fill:#fff;stroke:none"/>', *body, "</svg>\n"]
    )


# --- pictures of what the jobs make


def picture_whale() -> bytes:
    """Return a PNG of a made-up photograph with the boxes of both methods, and the crop of the second."""
    from PIL import Image, ImageDraw

    import molino

    with tempfile.TemporaryDirectory() as folder:
        runs = {}
        _molino("sample", "whales", "--output", f"{folder}/sea", "--images", "3")
        for method in ("original", "saliency"):
            _molino("whales", "--input", f"{folder}/sea/images", "--output", f"{folder}/{method}", "--method", method)
            runs[method] = molino.open(f"{folder}/{method}").read("regions").to_pylist()
        (key,) = {max(rows, key=lambda row: row["presence"])["key"] for rows in [runs["saliency"]]}
        image = Image.open(f"{folder}/sea/images/{key}").convert("RGB")
        boxes = {method: next(row for row in rows if row["key"] == key) for method, rows in runs.items()}
    scale = 560 / image.width
    shown = image.resize((560, round(image.height * scale)))
    draw = ImageDraw.Draw(shown)
    for method, color in (("original", "#D55E00"), ("saliency", "#F0E442")):
        row = boxes[method]
        corner = (row["x"] * scale, row["y"] * scale)
        end = (corner[0] + row["box_width"] * scale, corner[1] + row["box_height"] * scale)
        draw.rectangle((*corner, *end), outline=color, width=3)
        draw.text((corner[0] + 6, corner[1] + 4), method, fill=color)
    crop = Image.open(io.BytesIO(boxes["saliency"]["crop"]))
    crop = crop.resize((round(crop.width * shown.height / crop.height), shown.height))
    both = Image.new("RGB", (shown.width + 8 + crop.width, shown.height), "white")
    both.paste(shown, (0, 0))
    both.paste(crop, (shown.width + 8, 0))
    return _png(both.quantize(256))


def picture_report(name: str, height: int) -> bytes:
    """Return a PNG of the beginning of a report of the demo."""
    from PIL import Image

    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    report = DEMO / name / "report.html"
    if not browser or not report.exists():
        raise SystemExit(f"{report} or a browser ({', '.join(BROWSERS)}) is not here; run make demo")
    with tempfile.TemporaryDirectory() as folder:
        shot = f"{folder}/shot.png"
        size = (
            f"--window-size={WIDTH},{height}",
            "--hide-scrollbars",
            f"--screenshot={shot}",
            f"--user-data-dir={folder}/b",
        )
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", *size, report.as_uri()],
            check=True,
            capture_output=True,
        )
        return _png(Image.open(shot).convert("RGB").quantize(256))


def _png(image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG", optimize=True)
    return data.getvalue()


def _molino(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "molino", *words], cwd=ROOT, check=True, capture_output=True)


def make(kinds: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each picture of some kinds."""
    if "diagrams" in kinds:
        yield "rooms.svg", draw_rooms(find_imports()).encode()
        yield "run.svg", draw_run().encode()
    if "whale" in kinds:
        yield "whale.png", picture_whale()
    if "reports" in kinds:
        for name, height in REPORTS.items():
            yield f"{name}-report.png", picture_report(name, height)


def main() -> int:
    """Write the pictures to docs/images."""
    kinds = ("diagrams", "whale", "reports")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "kinds", nargs="*", default=kinds, metavar="KIND", help=f"any of {', '.join(kinds)}; default: all"
    )
    for name, data in make(parser.parse_args().kinds):
        (IMAGES / name).write_bytes(data)
        print(f"docs/images/{name}: {len(data):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
