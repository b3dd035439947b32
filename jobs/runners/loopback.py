"""The loopback interface, over which several workers of this machine call their runner."""

import socket

from molino.transforms.errors import DataError

ADDRESSES = ("127.0.0.1", "::1")  # one of them is enough; gRPC takes localhost for both, whatever /etc/hosts says
SECONDS = 5.0


def check_loopback() -> None:
    """Raise DataError where this machine cannot call itself: Beam would wait, or end in a traceback."""
    told = ""
    for address in ADDRESSES:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            with socket.create_server((address, 0), family=family) as server:
                socket.create_connection(server.getsockname()[:2], SECONDS).close()
                return
        except OSError as error:
            told = told or error.strerror or str(error)
    remedy = "ip link set lo up, or use one thread, which needs no network: --workers 1"
    raise DataError(f"workers call their runner over the loopback interface, which is down here ({told}): {remedy}")
