"""What a person reads of a run at its end."""

from collections.abc import Iterator, Sequence
from typing import Any

from molino.jobs.forecast.estimate import show_time
from molino.transforms.files import storage
from molino.transforms.manifest import MANIFEST
from molino.transforms.warnings import from_json, many, print_warnings

SUMMARY, MOST_LINES = "summary.txt", 40


def summary_lines(output: str, manifest: dict[str, Any], summary: Sequence) -> Iterator[str]:
    """Yield what a person reads of a finished run, `summary` first; its warnings go to standard error.

    A view `summary.txt` comes last, where it is no longer than a screen.
    """
    read, seconds, planned = manifest["balance"][0], manifest["seconds"], manifest["plan"].get("seconds")
    rate = manifest["counters"].get(read, 0) / max(seconds, 1e-3)
    took = f"{show_time(seconds)}, {f'{rate:,.0f}' if rate >= 100 else f'{rate:.1f}'} {read.removesuffix('_read')}/s"
    lines = [*summary, ("took", took + (f"; plan said {show_time(planned)}" if planned else ""))]
    print_warnings(from_json(manifest["warnings"]))
    if kept := sum(len(paths) for paths in manifest["previous"]):
        why = f"for their readers; open what {MANIFEST} lists, not a glob"
        lines += [("kept", f"{many(kept, 'file')} of earlier runs, {why}")]
    lines += [("digest", manifest["digest"][:16])] if manifest["datasets"] else []  # of a model there are files alone
    lines += [("output", output)]
    views = [view["path"] for view in manifest["views"] if view["path"].endswith(".html") and "/" not in view["path"]]
    lines += [("report", f"{output.rstrip('/')}/{view}") for view in views]
    for name, text in lines:
        yield f"{name:>12}  {text}"
    if SUMMARY in [view["path"] for view in manifest["views"]]:
        text = storage.read_bytes(storage.join(output, SUMMARY)).decode().splitlines()
        yield from ["", *text] if len(text) <= MOST_LINES else []
