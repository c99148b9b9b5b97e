"""Install the Debian packages that some tests need, where this machine lets us.

Chromium for the browser tests, faketime for wrong clocks, iproute2 for network namespaces. Without
root or apt nothing is installed and those tests skip, saying so (in CI such a skip is a failure).
"""

import os
import shutil
import subprocess
import sys

WANTED = {"chromium": "chromium", "faketime": "faketime", "ip": "iproute2"}


def main() -> int:
    """Install what is missing; 0 even where that is not possible."""
    missing = [package for command, package in WANTED.items() if shutil.which(command) is None]
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
