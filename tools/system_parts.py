"""Install the Debian packages that some tests need, where this machine lets us.

Chromium for the browser tests, faketime for wrong clocks, iproute2 for network namespaces,
mosquitto as an MQTT broker, RAUC with its bus and SquashFS as an updater of systems, SoftHSM as a
place for keys, GStreamer as a source and as the second opinion on our RTSP server. Without root or
apt nothing is installed and those tests skip, saying so (in CI such a skip is a failure).
"""

import os
import shutil
import subprocess
import sys

WANTED = {
    "chromium": "chromium",
    "faketime": "faketime",
    "ip": "iproute2",
    "mosquitto": "mosquitto",
    "rauc": "rauc",
    "dbus-daemon": "dbus",
    "mksquashfs": "squashfs-tools",
    "softhsm2-util": "softhsm2",
}
ELEMENTS = {
    "videoconvert": "gstreamer1.0-plugins-base",
    "matroskamux": "gstreamer1.0-plugins-good",
    "h264parse": "gstreamer1.0-plugins-bad",
    "avdec_h264": "gstreamer1.0-libav",
    "rtspclientsink": "gstreamer1.0-rtsp",
}
SERVER = "gir1.2-gst-rtsp-server-1.0"
"""GStreamer's own RTSP server, for the system's Python."""


def missing_parts() -> list[str]:
    """Return the packages of which something is not here."""
    missing = [package for command, package in WANTED.items() if shutil.which(command) is None]
    inspect = shutil.which("gst-inspect-1.0")
    if inspect is None:
        return [*missing, "gstreamer1.0-tools", *ELEMENTS.values(), SERVER, "python3-gi"]
    for element, package in ELEMENTS.items():
        if not _works([inspect, "--exists", element]):
            missing.append(package)
    ask = "import gi; gi.require_version('GstRtspServer', '1.0')"
    if not _works(["/usr/bin/python3", "-c", ask]):
        missing += [SERVER, "python3-gi"]
    return missing


def _works(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def main() -> int:
    """Install what is missing; 0 even where that is not possible."""
    missing = missing_parts()
    if not missing:
        return 0
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"not installed, so some tests will skip: {' '.join(missing)}")
        return 0
    print(f"installing {' '.join(missing)} from Debian's packages")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", *missing]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"{' '.join(command)} failed, so some tests will skip:\n{done.stderr[-500:]}")
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
