"""A worker process of the embedded runner: Beam's own, but that it ends with the process that started it."""

import ctypes
import os
import signal
import sys

from molino import environment

PR_SET_PDEATHSIG = 1  # of sys/prctl.h


def main() -> None:
    """Do a worker's work. The first argument is the process that started it."""
    environment.prepare()
    parent = int(sys.argv.pop(1))
    if sys.platform == "linux":  # elsewhere a worker notices by itself, after a while, that its runner is gone
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(1)
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
