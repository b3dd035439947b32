"""An attempt that stops itself at a step, with a lease of a second, in a PID namespace of its own where that can be.

python -m tests.faults.attempt_apart OUTPUT CONTENT STEP
"""

import ctypes
import os
import signal
import sys

from molino.jobs.run import lock
from molino.jobs.run.lock import BusyError
from molino.transforms.errors import DataError
from tests.faults import protocol

CLONE_NEWNS, CLONE_NEWPID = 0x20000, 0x20000000  # of sched.h
MS_REC, MS_PRIVATE = 0x4000, 0x40000  # of sys/mount.h
PR_SET_PDEATHSIG = 1  # of sys/prctl.h


def go_apart():
    """Go on in a process that a PID namespace holds, and is not its first, which cannot stop itself.

    The processes before it wait, and end as it does.
    """
    libc = ctypes.CDLL(None)
    if libc.unshare(CLONE_NEWPID | CLONE_NEWNS):
        return
    for inside in (False, True):
        child = os.fork()
        if child:
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            os._exit(code if code >= 0 else 128 - code)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if not inside:
            libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None)
            libc.mount(b"proc", b"/proc", b"proc", 0, None)


def attempt(output, content, at):
    """Make the attempt, stop at a step, and say how it ended; return an exit code."""
    lock.Lock.BEAT, lock.Lock.POLL = 0.15, 0.05
    left = [at]

    def crash(step):
        if left == [step]:
            left.clear()
            os.kill(os.getpid(), signal.SIGSTOP)

    if at == "claimed":
        stage = protocol.stage
        protocol.stage = lambda *arguments: (crash("claimed"), stage(*arguments))[1]
    try:
        print(protocol.attempt(output, content, crash=crash))
    except BusyError as error:
        print(error, file=sys.stderr)
        return 75
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    go_apart()
    sys.exit(attempt(*sys.argv[1:]))
