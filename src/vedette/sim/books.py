"""A stopped device's books against central's: gathers both, then asks the checker.

Used by the demo and by every fault campaign, so that there is one way to look.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from vedette.central.settings import CentralConfig
from vedette.central.store.postgres import EmbeddedPostgres
from vedette.errors import StoreError
from vedette.sim import ledger, receipts
from vedette.sim.checker import CameraCoverage, Produced, Spell, Verdict, judge, with_copy
from vedette.sim.demo.operator import Operator


def compare(
    site: str,
    device: str,
    *,
    state_dir: Path,
    central_dir: Path,
    operator: Operator,
    drained: bool = True,
    copies: Sequence[Path] = (),
) -> Verdict:
    """Return what the checker says over everything so far, the device being stopped.

    Coverage is judged where it is complete: of a device that is `drained`. `copies` are the spools
    of copies of it that spoke too, and were dropped when somebody judged.

    Raises:
        StoreError: Central's database does not run.
        UplinkError: Central's API does not answer.
        SpoolCorrupt: The spool has no ledger.
    """
    url = database_of(central_dir)
    spool_db = state_dir / "spool" / "spool.db"
    produced = ledger.read_produced(device, *ledger.spools(spool_db))
    committed = receipts.read_committed(url, device)
    for copy in copies:
        produced = with_copy(produced, ledger.read_produced(device, copy), committed)
    observed = receipts.read_observed(url, device)
    coverage = [
        _coverage(operator, (site, device, camera), spans)
        for camera, spans in sorted(observed.items())
        if spans and drained
    ]
    found = ledger.check_spool(spool_db) + ledger.check_evidence(state_dir / "evidence")
    return judge(_without_last_reports(produced), committed, coverage, found, drained=drained)


def database_of(central_dir: Path) -> str:
    """Return how to reach the database of the central that runs with its state in that folder.

    Raises:
        StoreError: It does not run.
    """
    # An operator's own database is where central itself looks for it.
    url = CentralConfig().own_database or EmbeddedPostgres(central_dir / "pg").attach()
    if url is None:
        raise StoreError("central's database does not run")
    return url


def _coverage(
    operator: Operator, place: tuple[str, str, str], observed: list[tuple[int, int]]
) -> CameraCoverage:
    first, last = min(start for start, _ in observed), max(end for _, end in observed)
    segments = operator.coverage(place, first, last)
    shown = [Spell(one["start_ms"], one["end_ms"], one["cause"]) for one in segments]
    return CameraCoverage(
        camera=place[2], from_ms=first, to_ms=last, shown=shown, observed=observed
    )


def _without_last_reports(produced: Produced) -> Produced:
    """Return the books without the health reports that a stopping agent could not send."""
    waiting = {key for key in produced.pending if produced.messages[key][0] == "health.v1"}
    return msgspec.structs.replace(
        produced,
        messages={key: said for key, said in produced.messages.items() if key not in waiting},
        pending=produced.pending - waiting,
    )
