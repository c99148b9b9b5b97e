"""The service manager: told that we are ready, alive, or stopping. Silent where there is none.

Source: sd_notify(3): datagrams of `KEY=value` to the socket named by NOTIFY_SOCKET.
"""

import os
import socket


def notify(state: str) -> bool:
    """Send e.g. `READY=1`, `WATCHDOG=1`, `STOPPING=1`; return whether somebody listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    name = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as speaker:
            speaker.sendto(state.encode(), name)
    except OSError:
        return False
    return True
