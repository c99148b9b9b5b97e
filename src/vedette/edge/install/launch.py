"""Starts the program that is installed, and goes back to the one before where the new one fails.

This file runs by itself: the standard library alone, under the interpreter of the program that the
device was installed with. `vedette edge install` copies it beside that program, out of reach of
every update. The service manager starts it; it becomes the program, under the same process id.

    program/current        link to a virtual environment, whole where `installed.json` stands in it;
                           without the link the program of the installation runs
    program/previous       link to the one that was confirmed before it
    program/trial.json     an environment on trial: counted starts, what to go back to
    program/healthy.json   the running program says of this trial that it works
    program/verdict.json   how the last trial ended

The rule: a trial ends well only by the new program's own word, and only while it lasts. Too many
starts (crash, import error, watchdog, power cut), no sign of health in time (hang), a program that
cannot be executed, or a trial that cannot be read: the link is put back. Where the disk refuses to
be written, what was before the trial runs.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

CURRENT: Final = "current"
PREVIOUS: Final = "previous"
TRIAL: Final = "trial.json"
HEALTHY: Final = "healthy.json"
VERDICT: Final = "verdict.json"
INSTALLED: Final = "installed.json"
FOLDER_VARIABLE: Final = "VEDETTE_PROGRAM"
BASE_VARIABLE: Final = "VEDETTE_PROGRAM_BASE"

MOST_STARTS: Final = 3
HEALTHY_S: Final = 300.0
END_S: Final = 30.0
_MAX_BYTES: Final = 64 * 1024
_NOTHING: Final[dict[str, Any]] = {}


# ------------------------------------------------------------------------------ the files


def read(path: Path) -> "dict[str, Any] | None":
    """Return a small JSON document; None where there is none, an empty one where it is damaged."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MAX_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return _NOTHING
    return found if isinstance(found, dict) else _NOTHING


def write(path: Path, document: "dict[str, Any]") -> None:
    """Have the document on the disk: whole, or as it was before.

    Raises:
        OSError: The disk refuses.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with scratch.open("w", encoding="utf-8") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remove(path: Path) -> None:
    """Have no such file, on the disk as well.

    Raises:
        OSError: The disk refuses.
    """
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in the folder on the disk.

    Raises:
        OSError: The disk refuses.
    """
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(held)
    finally:
        os.close(held)


def named(folder: Path, link: str = CURRENT) -> str:
    """Return the environment that a link names; empty: the program of the installation."""
    try:
        return str((folder / link).readlink())
    except OSError:
        return ""


def switch(folder: Path, to: str, link: str = CURRENT) -> None:
    """Have a link name another environment, or none. A reader sees the old or the new.

    Raises:
        OSError: The disk refuses.
    """
    if to:
        scratch = folder / f".{link}.{os.getpid()}"
        scratch.unlink(missing_ok=True)
        scratch.symlink_to(to)
        scratch.replace(folder / link)
        sync_folder(folder)
    else:
        remove(folder / link)


def is_whole(environment: str) -> bool:
    """Return whether an environment was installed to its end."""
    return bool(environment) and (Path(environment) / INSTALLED).is_file()


# ------------------------------------------------------------------------------ judging a trial


def end_trial(folder: Path, trial: "dict[str, Any]", outcome: str, reason: str) -> None:
    """Write how a trial ended, then end it. Each step can be repeated after a power cut.

    Raises:
        OSError: The disk refuses.
    """
    verdict = {
        "id": trial.get("id", ""),
        "digest": trial.get("digest", ""),
        "outcome": outcome,
        "reason": reason,
    }
    write(folder / VERDICT, verdict)
    remove(folder / TRIAL)


def go_back(folder: Path, trial: "dict[str, Any]", reason: str) -> str:
    """Put the link back, end the trial, and return what the link names now.

    Raises:
        OSError: The disk refuses.
    """
    before = _before(folder, trial)
    if trial.get("failed") != reason:
        write(folder / TRIAL, {**trial, "failed": reason})
    switch(folder, before)
    end_trial(folder, trial, "reverted", reason)
    _say(f"going back to {before or 'the installation'}: {reason}")
    return before


def settle(folder: Path) -> "tuple[str, dict[str, Any] | None]":
    """Return what is to be started, and the trial that it is on; counts this start.

    Raises:
        OSError: The disk refuses: nothing may be tried that could not be counted.
    """
    trial = read(folder / TRIAL)
    name = named(folder)
    if trial is None:
        return name, None
    if not trial or not isinstance(trial.get("starts"), int):
        return go_back(folder, trial, "the record of the trial was damaged"), None
    if trial.get("to") != name:  # power went before the switch, or on the way back
        if trial.get("failed"):
            end_trial(folder, trial, "reverted", str(trial["failed"]))
        else:
            remove(folder / TRIAL)
        return name, None
    if trial.get("failed"):
        return go_back(folder, trial, str(trial["failed"])), None
    most = int(trial.get("most_starts", MOST_STARTS))
    if trial["starts"] >= most:
        reason = f"it was started {most} times and never confirmed"
        return go_back(folder, trial, reason), None
    trial = {**trial, "starts": trial["starts"] + 1}
    (folder / HEALTHY).unlink(missing_ok=True)
    write(folder / TRIAL, trial)
    return name, trial


def _before(folder: Path, trial: "dict[str, Any]") -> str:
    """Return what to go back to: as the trial says, or what was confirmed last."""
    said = trial.get("before")
    if isinstance(said, str) and (not said or is_whole(said)):
        return said
    previous = named(folder, PREVIOUS)
    return previous if is_whole(previous) and previous != named(folder) else ""


# ------------------------------------------------------------------------------ a trial in time


def guard(folder: Path, trial: "dict[str, Any]") -> None:
    """Have another process end this one where it does not say in time that it works."""
    pid, began = os.getpid(), _began(os.getpid())
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    status = 1
    try:
        if os.fork() == 0:
            _wait_for_health(folder, trial, pid, began)
        status = 0
    finally:
        os._exit(status)


def _wait_for_health(folder: Path, trial: "dict[str, Any]", pid: int, began: str) -> None:
    end = time.monotonic() + float(trial.get("healthy_s", HEALTHY_S))
    while time.monotonic() < end:
        time.sleep(min(1.0, max(end - time.monotonic(), 0.01)))
        now = read(folder / TRIAL)
        if _began(pid) != began or not now or now.get("id") != trial.get("id"):
            return
    said = read(folder / HEALTHY)
    if said and said.get("id") == trial.get("id"):
        return
    reason = f"it did not say within {float(trial.get('healthy_s', HEALTHY_S)):.0f} s that it works"
    _say(reason)
    write(folder / TRIAL, {**trial, "failed": reason})
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + float(trial.get("end_s", END_S))
    while time.monotonic() < end and _began(pid) == began:
        time.sleep(0.05)
    if _began(pid) == began:
        os.kill(pid, signal.SIGKILL)


def _began(pid: int) -> str:
    """Return when a process began, in ticks of the kernel: its number may be another's later."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]  # proc(5): field 22, the name being the second


# ------------------------------------------------------------------------------ starting


def main(arguments: "list[str]") -> int:
    """Become the program. Returns only where nothing can be executed.

    Args:
        arguments: Folder of the environments, the `vedette` of the installation, its arguments.
    """
    folder, base, rest = Path(arguments[0]), Path(arguments[1]), arguments[2:]
    os.environ[FOLDER_VARIABLE], os.environ[BASE_VARIABLE] = str(folder), str(base)
    try:
        name, trial = settle(folder)
    except OSError as error:
        trial = read(folder / TRIAL)
        name = _before(folder, trial) if trial is not None else named(folder)
        _say(f"cannot write in {folder} ({error}): starting {name or 'the installation'}")
        trial = None
    if trial is not None:
        guard(folder, trial)
        _execute(Path(name) / "bin" / base.name, rest)
        try:
            name = go_back(folder, trial, "it could not be executed")
        except OSError:
            name = _before(folder, trial)
    for other in dict.fromkeys((name, named(folder, PREVIOUS))):
        if is_whole(other):
            _execute(Path(other) / "bin" / base.name, rest)
    _execute(base, rest)
    _say(f"nothing here can be executed: not in {folder}, and not {base}")
    return 127


def _execute(program: Path, rest: "list[str]") -> None:
    """Become `program`; return where that cannot be."""
    try:
        os.execv(program, [str(program), *rest])  # noqa: S606 - no shell is the point
    except OSError as error:
        _say(f"{program} cannot be executed: {error.strerror}")


def _say(words: str) -> None:
    print(f"launch: {words}", file=sys.stderr, flush=True)  # noqa: T201 - the journal reads it


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
