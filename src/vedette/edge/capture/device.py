"""A camera of this machine: USB or built in, through the kernel's V4L2 and FFmpeg.

Here: what is checked before FFmpeg is asked, what is asked of the driver, and what its refusals
mean. Not here: demuxing (`capture.source`) and reading the address (`edge.address`). The rule: what
is opened is a video device and nothing else, however the address is written.

Source: Linux's V4L2 API (busy: EBUSY; unplugged: ENODEV; not of this size: EINVAL).
"""

import errno
import os
import stat
from pathlib import Path
from typing import Final

from vedette.edge.address import DeviceAddress
from vedette.edge.capture.seam import Loss, SourceLost

V4L2_MAJOR: Final = 81
"""Linux's device number for video; Documentation/admin-guide/devices.txt."""


def options(device: DeviceAddress) -> dict[str, str]:
    """Return FFmpeg's options for what is asked of the driver."""
    asked: dict[str, str] = {}
    if device.size is not None:
        asked["video_size"] = f"{device.size[0]}x{device.size[1]}"
    if device.fps is not None:
        asked["framerate"] = str(device.fps)
    if device.format:
        asked["input_format"] = device.format
    return asked


def check(path: Path, *, major: int = V4L2_MAJOR) -> None:
    """Return where `path` is a device that this program may open.

    Raises:
        SourceLost: Nothing there, no video device, or no right to it.
    """
    try:
        found = path.stat()
    except OSError as problem:
        raise refused(problem, path) from problem
    if not stat.S_ISCHR(found.st_mode) or os.major(found.st_rdev) != major:
        raise SourceLost(
            Loss.NO_VIDEO,
            f"{path.name} is no video device",
            operator_hint="see which devices there are: ls -l /dev/v4l/by-id",
        )
    if not os.access(path, os.R_OK | os.W_OK):
        raise refused(PermissionError(errno.EACCES, ""), path)


def refused(problem: BaseException | None, path: Path) -> SourceLost:
    """Return what an error of a device means; None is an end without any."""
    name = path.name
    if problem is None:
        return SourceLost(Loss.CLOSED, name)
    number = getattr(problem, "errno", None)
    if number in (errno.ENOENT, errno.ENXIO):
        hint = "plug it in, and check with: ls -l /dev/v4l/by-id"
        return SourceLost(Loss.NO_FILE, f"{name} is not there", operator_hint=hint)
    if number in (errno.EACCES, errno.EPERM):
        hint = "add this program's user to the group video"
        return SourceLost(Loss.DENIED, name, operator_hint=hint)
    if number == errno.EBUSY:
        hint = f"see who has it open: fuser -v /dev/{name}"
        return SourceLost(Loss.BUSY, name, operator_hint=hint)
    if number in (errno.ENODEV, errno.EIO):
        hint = "check its cable; it is taken up again once it is back"
        return SourceLost(Loss.CLOSED, f"{name} was unplugged", operator_hint=hint)
    if number == errno.EINVAL:
        hint = f"see what it can do: v4l2-ctl -d /dev/{name} --list-formats-ext"
        return SourceLost(Loss.FAILED, "it refuses this size, rate or format", operator_hint=hint)
    if number in (errno.ETIMEDOUT, errno.EAGAIN):
        return SourceLost(
            Loss.TIMEOUT, name, operator_hint="unplug the camera and plug it in again"
        )
    words = str(getattr(problem, "strerror", "") or type(problem).__name__)
    return SourceLost(Loss.FAILED, f"{name}: {words}", operator_hint="see the kernel's log: dmesg")
