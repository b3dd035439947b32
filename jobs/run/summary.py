"""What a person reads of a run at its end."""

from collections.abc import Callable, Iterator
from typing import Any

from molino.jobs.options import EMBEDDED, many
from molino.jobs.run.manifest import MANIFEST
from molino.transforms.warnings import from_json, print_warnings


def summary_lines(output: str, manifest: dict[str, Any], summarize: Callable) -> Iterator[str]:
    """Yield the summary of a finished run; its warnings go to standard error."""
    read, seconds = manifest["balance"][0], manifest["seconds"]
    rate = manifest["counters"].get(read, 0) / max(seconds, 1e-3)
    shown = f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"
    lines = [*summarize(manifest), ("time", f"{seconds:.1f} s, {shown} {read.removesuffix('_read')}/s")]
    if manifest["plan"]:
        lines += [("of the plan", ", ".join(f"{what} {part:.2f}" for what, part in parts_of_plan(manifest)))]
    print_warnings(from_json(manifest["warnings"]))
    if kept := sum(len(paths) for paths in manifest["previous"]):
        why = f"for who still reads them; open what {MANIFEST} lists, not a glob"
        lines += [("kept", f"{many(kept, 'file')} of earlier runs, {why}")]
    lines += [("digest", manifest["digest"][:16]), ("output", output)]
    views = [view["path"] for view in manifest["views"] if view["path"].endswith(".html") and "/" not in view["path"]]
    lines += [("report", f"{output.rstrip('/')}/{view}") for view in views]
    for name, text in lines:
        yield f"{name:>12}  {text}"


def parts_of_plan(manifest: dict[str, Any]) -> list[tuple[str, float]]:
    """Return what a run met and took, each as a multiple of what its plan had said; what is not known is left out."""
    plan, used = manifest["plan"], manifest["used"]
    facts = {
        "rows": (manifest["counters"].get(manifest["balance"][0], 0), plan["rows"]),
        "shuffle": (used["shuffle_bytes"], plan["shuffle_bytes"]),
        "written": (used["written_bytes"], plan["written_bytes"]),
        "seconds": (manifest["seconds"], plan["seconds"]),
        # of other runners only one process is known, which need not be a worker
        "memory": (used["peak_bytes"] if plan["runner"] == EMBEDDED else None, plan["memory_bytes"]),
    }
    return [(what, fact / planned) for what, (fact, planned) in facts.items() if fact and planned]
