"""What of this machine the process may use: processors and memory, less what affinity and control groups withhold."""

import contextlib
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Share(NamedTuple):
    """What a process may use of what a machine has."""

    usable: int  # CPUs, or bytes
    host: int  # what the machine has; 0 where that is not known
    why: str = ""  # what withholds the rest; "" where nothing does


def cpus() -> int:
    """Return how many CPUs this process may keep busy."""
    return cpu_share().usable


def cpu_share(root: str = "/") -> Share:
    """Return the CPUs: of the affinity mask, or of the cgroup's quota below a root; a part of one counts as a whole."""
    host = os.cpu_count() or 1
    shares = [Share(host, host)]
    if hasattr(os, "sched_getaffinity"):  # Linux
        shares.append(Share(len(os.sched_getaffinity(0)), host, "affinity"))
    shares += [Share(count, host, "cgroup quota") for count in _quotas(Path(root))]
    return min(shares, key=lambda share: share.usable)


def memory_share(root: str = "/") -> Share:
    """Return the bytes of memory: those of the machine, or of the cgroup's limit; 0 where neither is known."""
    try:
        host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        host = 0
    shares = [Share(host, host)] if host else []
    shares += [Share(size, host, "cgroup limit") for size in _limits(Path(root))]
    return min(shares, key=lambda share: share.usable, default=Share(0, 0))


def peak_bytes(who: int = resource.RUSAGE_SELF) -> int:
    """Return the most memory that this process has had, or the largest of those that it started and that have ended."""
    return resource.getrusage(who).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def describe_machine(root: str = "/") -> str:
    """Return in words what may be used: "2 of 64 cores: cgroup quota; 8 of 256 GB of memory: cgroup limit"."""
    cores, memory = cpu_share(root), memory_share(root)
    count = f"{cores.usable} of {cores.host}" if cores.why else f"{cores.host}"
    size = f"{memory.usable / 1e9:,.3g}" + (f" of {memory.host / 1e9:,.3g}" if memory.why and memory.host else "")
    told = [(f"{count} core{'s' * (cores.host != 1)}", cores.why)]
    told += [(f"{size} GB of memory", memory.why)] if memory.usable else []
    return "; ".join(f"{what}: {why}" if why else what for what, why in told)


def _quotas(root: Path) -> Iterator[int]:
    for folder in _cgroups(root, "cpu"):
        # of version 2, or of version 1
        words = _words(folder / "cpu.max") or [
            word for name in ("quota", "period") for word in _words(folder / f"cpu.cfs_{name}_us")
        ]
        quota, period = words if len(words) == 2 else ("", "")
        # "max" and -1 are no limit
        if quota.isdecimal() and period.isdecimal() and int(period):
            yield max(1, -(-int(quota) // int(period)))


def _limits(root: Path) -> Iterator[int]:
    for folder in _cgroups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):  # version 1 tells no limit by a number beyond any machine
            for limit in _words(folder / name)[:1]:
                if limit.isdecimal() and 0 < int(limit) < 1 << 60:
                    yield int(limit)


def _cgroups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's cgroup and of all above it, of version 2 and of a controller of version 1.

    In a container the path of the cgroup may be the host's, which is not below the mount: the mount itself is the
    container's then.
    """
    paths = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - cgroup")
        version, _, options = after.partition(" ")
        if version == "2" or (after and not version and controller in options.split(" ")[-1].split(",")):
            top, mount = before.split(" ")[3:5]
            inside = os.path.relpath(paths.get("" if version else controller, "/"), top).split("/")
            yield (folder := root / mount.lstrip("/"))
            for part in inside if ".." not in inside else ():
                yield (folder := folder / part)


def _lines(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return path.read_text(errors="surrogateescape").splitlines()
    return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()
