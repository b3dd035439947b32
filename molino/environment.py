"""What libraries read of the environment when they are loaded: set where a command begins, and for what it starts."""

import os
import signal

from molino import machine

LOOPBACK = ("localhost", "127.0.0.1", "::1")
PROXIES = {"http_proxy", "https_proxy", "grpc_proxy", "all_proxy"}
# Arrow and OpenBLAS, then TensorFlow: all but Arrow know of affinity, and none of quotas
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def prepare() -> None:
    """Fit the environment to the machine and the user, before gRPC, Arrow, Numba or Keras is loaded."""
    if os.path.expanduser("~") == "~":  # a user without any home gets that of containers: libraries would make it
        os.environ["HOME"] = "/"
    keep_loopback_direct()
    limit_threads()


def keep_loopback_direct() -> None:
    """Let nothing send what stays on this machine through a proxy: gRPC would, and a run with workers would hang.

    What the user excepts besides stays excepted. A list that Python, gRPC or Rust would pass over for another is given
    what that one had.
    """
    known = os.environ
    if not any(value for name, value in known.items() if name.lower() in PROXIES):
        return  # where no proxy is named, an exception would hide the system's own settings
    known.setdefault("no_proxy", known.get("NO_PROXY", ""))  # the first wins, but in Rust
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        if name in known and known[name].strip() != "*":
            known[name] = _with_loopback(known[name])
    if known["no_proxy"].strip() == "*":  # which gRPC takes for a name, and which may not stand in a list
        known.setdefault("no_grpc_proxy", _with_loopback(""))


def _with_loopback(given: str) -> str:
    hosts = [host.strip() for host in given.split(",") if host.strip()]
    return ",".join(dict.fromkeys((*hosts, *LOOPBACK)))


def limit_threads() -> None:
    """Let libraries have as many threads as CPUs may be used, where these are fewer than the machine has."""
    share = machine.cpu_share()
    if share.usable < share.host:
        for name in THREADS:
            os.environ.setdefault(name, str(share.usable))


def stop_signals() -> list[int]:
    """Return the signals that end a command in good order; not SIGHUP where it is ignored, as under nohup."""
    hangs_up = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN
    return [signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if hangs_up else [])]
