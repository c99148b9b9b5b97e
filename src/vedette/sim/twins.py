"""Two machines with a copy of one device's disk, both alive, as real processes.

A copy of the whole state directory is started as a second agent, with a boot of its own. Central
has to notice, both have to be told, a person judges, and the books of both are compared with what
central has. The rule: of the copy that is dropped nothing may be in central but what was counted
before anybody could know, and all else of it is what the judgement says was dropped.
"""

import re
import shutil
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from vedette.edge.health.system import boot_id
from vedette.edge.spool import bell
from vedette.edge.status import QUARANTINED, read_status
from vedette.sim import ledger, receipts
from vedette.sim.books import database_of
from vedette.sim.checker import Difference, Produced
from vedette.sim.faults import Child
from vedette.sim.rig import DEVICE, Rig
from vedette.sim.troubles import Happened, Stand

COPY_BOOT: Final = "boot-of-the-copy"
NOTICED_S: Final = 240.0
_JUDGED: Final = re.compile(r"(\d+) messages counted, (\d+) dropped")
_SEEN: Final = 40


def two_copies(stand: Stand) -> Happened:
    """Central quarantines, both are told, an operator counts one copy and drops the other."""
    rig = stand.rig
    rig.load(100)
    rig.agent.stop()
    twin = _copy(rig, stand.folder)
    rig.agent.start()
    twin.start()
    try:
        before = _until_quarantined(rig, twin)
        rig.load(_SEEN)
        twin_db = rig.copies[0]
        made = len(_made(twin_db).messages)
        rig.wait_for("the copy says more", lambda: len(_made(twin_db).messages) > made + _SEEN)
    finally:
        twin.stop()
    wrong = [] if _committed(rig) == before else [_wrong("counted while in quarantine")]
    counted, dropped = _release(rig)
    found = _quarantined(rig)
    wrong += [_wrong(f"still in quarantine: {found}")] if found else []
    wrong += _dropped(rig, twin_db, dropped)
    rig.load(100)
    said = f"one copy of two judged: {counted} messages counted, {dropped} of the other dropped"
    return Happened(said, wrong)


def _copy(rig: Rig, folder: Path) -> Child:
    """Return the second machine, not started: the same disk, another boot."""
    home = folder / "copy"
    shutil.copytree(rig.state_dir, home, ignore=shutil.ignore_patterns(bell.NAME))  # a pipe
    config = yaml.safe_load(rig.config_path.read_text(encoding="utf-8"))
    config["state_dir"] = str(home)
    own = folder / "copy.yaml"
    own.write_text(yaml.safe_dump(config), encoding="utf-8")
    rig.copies.append(home / "spool" / "spool.db")
    agent = [sys.executable, "-m", "vedette.sim.loaded_agent", str(own)]
    words = [*agent, "--boot-id", COPY_BOOT, "--every-s", rig.agent.arguments[-1]]
    return Child("copy", words, folder / "copy.log")


def _until_quarantined(rig: Rig, twin: Child) -> int:
    """Wait until central and both copies know; return how many messages count by then."""
    rig.wait_for("a quarantine", lambda: bool(_quarantined(rig)), NOTICED_S)
    for child, state_dir in ((rig.agent, rig.state_dir), (twin, rig.copies[0].parents[1])):
        rig.wait_for(f"the {child.name} is told", lambda at=state_dir: _is_told(at))
    return _committed(rig)


def _quarantined(rig: Rig) -> list[dict[str, Any]]:
    return [
        one
        for one in rig.operator.call("GET", "/v1/quarantine")
        if one["quarantined_ms"] is not None
    ]


def _is_told(state_dir: Path) -> bool:
    report = read_status(state_dir)
    return report is not None and QUARANTINED in report.problems


def _release(rig: Rig) -> tuple[int, int]:
    printed = rig.at_central("devices", "release", DEVICE, "--copy", boot_id())
    found = _JUDGED.search(printed)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _committed(rig: Rig) -> int:
    return len(receipts.read_committed(database_of(rig.central_dir), DEVICE).receipts)


def _made(spool_db: Path) -> Produced:
    return ledger.read_produced(DEVICE, spool_db)


def _dropped(rig: Rig, spool_db: Path, told: int) -> list[Difference]:
    """Check that what the judgement dropped is what is missing of the copy, and nothing else."""
    made = _made(spool_db)
    committed = receipts.read_committed(database_of(rig.central_dir), DEVICE)
    has = {receipt.key: (receipt.schema, receipt.crc) for receipt in committed.receipts}
    missing = {key for key, said in made.messages.items() if has.get(key) != said}
    missing -= made.pending
    if len(missing) == told and told:
        return []
    return [_wrong(f"{told} messages said to be dropped, {len(missing)} missing of the copy")]


def _wrong(text: str) -> Difference:
    return Difference("copies", text)
