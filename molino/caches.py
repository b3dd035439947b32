"""Where this user's files lie on this machine: the home folder, and the cache of what is found out once."""

import contextlib
import os
import stat


def in_home(*names: str) -> str:
    """Return a path in this user's home; "" for a user without one, as of a service or a container.

    What Python makes of ~ is then ~ itself, or a folder that was never made.
    """
    home = os.path.expanduser("~")
    return os.path.join(home, *names) if home not in ("~", "/") and os.path.isdir(home) else ""


def cache_folder(*names: str) -> str | None:
    """Return a folder of the cache, which is not made here; None where none can be written.

    The cache is MOLINO_CACHE, whatever is there; else the first that can be written: `molino` in XDG_CACHE_HOME, in
    ~/.cache, or a folder of this user alone among the temporary files.
    """
    given = absolute(os.environ.get("MOLINO_CACHE", ""))
    common = (absolute(os.environ.get("XDG_CACHE_HOME", "")), in_home(".cache"))
    root = given or next((os.path.join(place, "molino") for place in common if place and can_write(place)), None)
    root = root or _temporary()
    return os.path.join(root, *names) if root else None


def absolute(path: str) -> str:
    """Return an absolute path; "" for one in the home of a user without one. Only a shell would have read its ~."""
    if path.split("/")[0] == "~":
        return in_home(*path.split("/")[1:])
    return os.path.abspath(path) if path else ""


def can_write(folder: str) -> bool:
    """Return whether this user can write into a folder, or make it."""
    while not os.path.lexists(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    return os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)


def _temporary() -> str | None:
    """Return this user's folder among the temporary files, made and for nobody else, for compiled code is run.

    Not that of Python's tempfile, which is another in every run.
    """
    for place in (os.environ.get("TMPDIR", ""), "/tmp", "/var/tmp"):
        if os.path.isabs(place):
            folder = os.path.join(place, f"molino-{os.geteuid()}")
            with contextlib.suppress(OSError):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder, 0o700)
                found = os.lstat(folder)
                own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
                if own and os.access(folder, os.W_OK):
                    return folder
    return None
