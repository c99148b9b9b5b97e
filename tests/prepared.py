"""Databases of centrals that were made, migrated and stopped before: copied instead of made anew.

To make one takes seconds, most of them waiting for the disk; a copy starts at once. Made once per
run of the suite, by the first process that asks, in a folder that `tests/conftest.py` makes and
removes, so it is always of these migrations. What making a database needs is proven elsewhere: by
`test_central_postgres`, the demo, and campaigns on small disks.
"""

import asyncio
import fcntl
import os
import subprocess
from pathlib import Path
from typing import Final

from vedette.central.store.migrate import migrate
from vedette.central.store.postgres import EmbeddedPostgres

FOLDER: Final = "VEDETTE_TEST_PREPARED"
_ITS_OWN: Final = ("owner.lock", "address", "postgres.log")


def lay_out(state: Path) -> Path:
    """Have a migrated, stopped database in the state directory of a central; return its folder."""
    made = Path(os.environ[FOLDER])
    with (made / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (made / "whole").exists():
            with EmbeddedPostgres(made / "pg") as server:
                asyncio.run(migrate(server.conninfo))
            (made / "whole").touch()
    state.mkdir(parents=True, exist_ok=True)
    # Not by Python: files keep their owner, which is not root's where root runs us.
    subprocess.run(["cp", "-a", str(made / "pg"), str(state / "pg")], check=True, timeout=60)
    for name in _ITS_OWN:
        (state / "pg" / name).unlink(missing_ok=True)
    return state / "pg"
