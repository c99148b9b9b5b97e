"""The device's keys on a disk that does not do what it should."""

import os
import subprocess
from pathlib import Path

import pytest

from vedette.edge.keyring import Keyring
from vedette.errors import TrustError
from vedette.trust.keys import SigningKey


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_takes_no_writes_any_more_silences_no_device(tmp_path: Path) -> None:
    """Cards end by refusing writes: the device must still get tokens, to say so."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        key = SigningKey.generate()
        key.save(disk / "device.key")
        remount = ["mount", "-o", "remount,ro", str(disk)]
        subprocess.run(remount, check=True, capture_output=True)
        keyring = Keyring(disk)
        with keyring.held():
            assert [one.public for one in keyring.speaking()] == [key.public]
            keyring.accepted(key)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_keys_that_cannot_be_read_are_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    """Not an error of the machine, which would end the thread that speaks to central."""
    with pytest.raises(TrustError) as caught, Keyring(tmp_path / "gone").held():
        pass
    assert caught.value.operator_hint
