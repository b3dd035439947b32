"""Workers' reports of what they have done, for a person who watches.

A report is one datagram to a socket whose path stands in the environment: it crosses threads and processes of one
machine, never blocks, and costs nothing when nobody listens. Nothing of a run's output depends on it.
"""

import json
import os
import socket

ENVIRONMENT = "MOLINO_PROGRESS"
STAGES = {"read": "1/3 reading", "reduce": "2/3 reducing", "write": "3/3 writing"}  # of a job that shuffles, in order


def report(stage: str, **amounts: int) -> None:
    """Say that `amounts` more (rows, bytes) of a stage are done."""
    if not (path := os.environ.get(ENVIRONMENT)):
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(json.dumps({"stage": stage, **amounts}).encode(), path)
    except OSError:
        pass  # the listener is gone or its queue is full; the run does not care
