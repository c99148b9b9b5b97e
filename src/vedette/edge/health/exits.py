"""How a process ended, in words, and whether the kernel ended it for want of memory.

A process that is out of memory dies by SIGKILL like any other that is killed. What tells them
apart, the surest first: the kernel's log names the process (readable with CAP_SYSLOG, or where
`kernel.dmesg_restrict` is 0); the control group's `oom_kill` counter rose while it ran; the
machine's counter rose.

Source: Linux kernel documentation, admin-guide/cgroup-v2 (memory.events), cgroup-v1/memory
(memory.oom_control), ABI/testing/dev-kmsg; proc(5) on `/proc/vmstat`; mm/oom_kill.c for the words.
"""

import re
import signal
from typing import Final

from vedette.edge.health.sysfs import Tree

FOR_MEMORY: Final = "the kernel ended it for want of memory"
PROBABLY_FOR_MEMORY: Final = "probably the kernel ended it for want of memory"
_CRASHES: Final = {
    "SIGSEGV": "native code read or wrote where it may not",
    "SIGBUS": "native code read or wrote where nothing is, or the disk failed beneath it",
    "SIGILL": "native code that this processor does not know",
    "SIGFPE": "native code divided by zero",
    "SIGABRT": "native code gave up by itself",
}
_MAX_LOG_BYTES: Final = 2 * 1024 * 1024
_MAX_SMALL_BYTES: Final = 64 * 1024


def describe(code: int) -> str:
    """Return a process's end in words: `code` is negative for a signal, as of `subprocess`."""
    if code >= 0:
        return f"exit status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
    why = _CRASHES.get(name, "")
    return f"signal {name} ({why})" if why else f"signal {name}"


class MemoryKills:
    """What the kernel ended for want of memory since `mark`. Thread: one at a time."""

    def __init__(self, tree: Tree | None = None) -> None:
        """Prepare; `mark` when a process starts."""
        self._tree: Final = tree or Tree()
        self._before: tuple[int | None, int | None] = (None, None)

    def mark(self) -> None:
        """Remember the counters of now."""
        self._before = (_group_kills(self._tree), machine_kills(self._tree))

    def blame(self, pid: int) -> str:
        """Return in words that it was for want of memory; empty where nothing says so."""
        if named_in_log(self._tree, pid):
            return FOR_MEMORY
        group_before, machine_before = self._before
        group = _group_kills(self._tree)
        if group is not None and group_before is not None:
            return FOR_MEMORY if group > group_before else ""
        machine = machine_kills(self._tree)
        if machine is not None and machine_before is not None and machine > machine_before:
            return PROBABLY_FOR_MEMORY
        return ""


def machine_kills(tree: Tree) -> int | None:
    """Return how many processes of this boot were ended for want of memory."""
    return _field(tree, "proc/vmstat", "oom_kill")


def named_in_log(tree: Tree, pid: int) -> bool:
    """Return whether the kernel's log says that it ended this process for want of memory."""
    log = tree.whole("dev/kmsg", _MAX_LOG_BYTES).decode("utf-8", "replace")
    return re.search(rf"Killed process {pid} \(", log) is not None


def _group_kills(tree: Tree) -> int | None:
    """Return the counter of our own control group, of version 2 or 1."""
    for line in tree.text("proc/self/cgroup").splitlines()[:64]:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if ".." in path.split("/"):
            continue
        found = None
        if number == "0" and not controllers:
            found = _field(tree, f"sys/fs/cgroup{path.rstrip('/')}/memory.events", "oom_kill")
        elif "memory" in controllers.split(","):
            file = f"sys/fs/cgroup/memory{path.rstrip('/')}/memory.oom_control"
            found = _field(tree, file, "oom_kill")
        if found is not None:
            return found
    return None


def _field(tree: Tree, path: str, name: str) -> int | None:
    text = tree.whole(path, _MAX_SMALL_BYTES).decode("ascii", "replace")
    found = re.search(rf"^{name} (\d{{1,18}})$", text, re.MULTILINE)
    return int(found[1]) if found else None
