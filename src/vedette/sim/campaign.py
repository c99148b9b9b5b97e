"""A campaign: everything that can go wrong, one after the other, with real processes, and a report.

    vedette sim campaign

Each fault gets a central, a device and a network of its own (`sim.rig`), or hours of a simulated
fleet (`sim.fleet`); in the end `sim.checker` compares the books. What goes wrong is in
`sim.troubles`; here is the table of them, how one is played, and what is told of it. The rule: a
fault that this machine does not permit is reported as skipped, with the reason, never as held.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from vedette.clock import Clock
from vedette.errors import ConfigError, VedetteError
from vedette.sim import faults, troubles, twins
from vedette.sim.checker import Difference, Verdict
from vedette.sim.fleet import campaign as fleet
from vedette.sim.fleet.scenario import DEFAULT, Kind, Scenario
from vedette.sim.fleet.scenario import Fault as Trouble
from vedette.sim.rig import Rig, central_folder
from vedette.sim.troubles import Happened, Stand

_CENTRAL_DISK_MB: Final = 220
_DEVICE_DISK_MB: Final = 24
_FEW: Final = 200


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of trouble.

    Attributes:
        name: As the command line takes it.
        what: In words.
        play: Does it to a stand and says what happened; None: `scenario` says it all.
        every_s, quota_mb: Of the device's load and spool.
        device_disk_mb, central_disk_mb: A small disk under that side.
        device_clock: What the device's wall clock is off by from the start, as `-3600s`.
        drained: The device can send everything in the end.
        at_least: Committed messages below which nothing was proven.
    """

    name: str
    what: str
    play: Callable[[Stand], Happened] | None = None
    every_s: float = 0.05
    quota_mb: float = 64.0
    device_disk_mb: int = 0
    central_disk_mb: int = 0
    device_clock: str = ""
    drained: bool = True
    at_least: int = _FEW
    scenario: Scenario | None = None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one fault; `skipped` says why it was not played."""

    fault: str
    what: str
    happened: str = ""
    counts: dict[str, int] = {}
    differences: list[Difference] = []
    skipped: str = ""
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """True where nothing differed."""
        return not self.differences and not self.skipped


TWO_DAYS: Final = Scenario(
    hours=48.5,
    devices=2,
    cameras=1,
    per_site=1,
    events_per_h=2.0,
    faults=[Trouble(kind=Kind.SITE_CUT, devices=1, at_min=15, for_min=48 * 60)],
)
"""One site without a network for 48 hours beside one that is well."""

FAULTS: Final = (
    Fault(name="peace", what="nothing goes wrong", play=troubles.peace),
    Fault(
        name="device-kills",
        what="kill -9 of agent and pipeline at random moments",
        play=troubles.kill_the_device,
    ),
    Fault(
        name="central-kills",
        what="kill -9 of central, of PostgreSQL and of one of its connections",
        play=troubles.kill_central,
    ),
    Fault(
        name="network",
        what="the network is cut and holds packets back, so that answers are lost",
        play=troubles.break_the_network,
    ),
    Fault(
        name="repeats",
        what="batches are sent twice and out of order by two at once",
        play=troubles.repeat_and_shuffle,
    ),
    Fault(
        name="small-spool",
        what="no network on a small spool: the oldest is dropped with tombstones",
        play=troubles.overflow_the_spool,
        quota_mb=1.0,
        every_s=0.005,
        at_least=0,
    ),
    Fault(
        name="torn-page",
        what="a page of the spool is torn while messages wait in it",
        play=troubles.tear_a_page,
    ),
    Fault(
        name="device-disk",
        what="the device's disk is full under load, then freed",
        play=troubles.fill_the_device,
        device_disk_mb=_DEVICE_DISK_MB,
        every_s=0.01,
    ),
    Fault(
        name="central-disk",
        what="the disk of central's PostgreSQL is full under load, then freed",
        play=troubles.fill_central,
        central_disk_mb=_CENTRAL_DISK_MB,
        every_s=0.01,
    ),
    *(
        Fault(
            name=f"clock-{name}",
            what=f"the device's clock {words}, is put right, then wrong again",
            play=troubles.turn_the_clock,
            device_clock=shift,
        )
        for name, words, shift in (
            ("1970", "wakes in 1970", "-1795000000s"),
            ("behind", "is an hour behind", "-3600s"),
            ("ahead", "is an hour ahead", "+3600s"),
        )
    ),
    Fault(
        name="central-clock",
        what="central's clock jumps a day ahead, a day behind, and back",
        play=troubles.turn_centrals_clock,
    ),
    Fault(
        name="bad-messages",
        what="wrong versions, wrong dates, deep, huge and broken messages, and replays",
        play=troubles.send_nonsense,
    ),
    Fault(
        name="restored-central",
        what="central is put back to an older backup",
        play=troubles.restore_central,
    ),
    Fault(
        name="revoked",
        what="the device is revoked under load",
        play=troubles.revoke_the_device,
        drained=False,
        at_least=20,
    ),
    Fault(
        name="two-copies",
        what="a copy of the device's disk runs on a second machine",
        play=twins.two_copies,
    ),
    Fault(name="two-days", what="a site is 48 simulated hours away", scenario=TWO_DAYS),
    Fault(
        name="fleet",
        what="60 simulated devices, 1.5 hours, every fault of a device at once",
        scenario=DEFAULT,
    ),
)
"""Everything that a campaign plays, in this order."""


def chosen(names: Sequence[str]) -> list[Fault]:
    """Return the faults of these names, in the table's order; all of them without names.

    Raises:
        ConfigError: There is none of a name.
    """
    known = {fault.name for fault in FAULTS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f"no fault is called {', '.join(unknown)}",
            operator_hint=f"one of: {', '.join(fault.name for fault in FAULTS)}",
        )
    return [fault for fault in FAULTS if not names or fault.name in names]


def run(
    wanted: Sequence[Fault], folder: Path, clock: Clock, tell: Callable[[Finding], None]
) -> list[Finding]:
    """Return what came of each fault, told as it comes; logs stay below `folder`."""
    findings: list[Finding] = []
    for fault in wanted:
        own = folder / fault.name
        own.mkdir(parents=True)
        findings.append(play(fault, own, clock))
        tell(findings[-1])
    return findings


def play(fault: Fault, folder: Path, clock: Clock) -> Finding:
    """Return what came of one fault."""
    start_ns = clock.mono_ns()
    happened, verdict, skipped = Happened(""), Verdict(differences=(), counts={}), ""
    try:
        happened, verdict = _played(fault, folder, clock)
    except faults.NotPermitted as error:
        skipped = str(error)
    except (VedetteError, TimeoutError, LookupError) as error:
        happened = Happened("", [Difference("stuck", f"{type(error).__name__}: {error}")])
    differences = [*happened.differences, *verdict.differences]
    if not differences and not skipped and verdict.counts.get("committed", 0) < fault.at_least:
        text = f"only {verdict.counts.get('committed', 0)} messages: nothing was proven"
        differences.append(Difference("too_little", text))
    return Finding(
        fault=fault.name,
        what=fault.what,
        happened=happened.words,
        counts=verdict.counts,
        differences=differences,
        skipped=skipped,
        seconds=round((clock.mono_ns() - start_ns) / 1e9, 1),
    )


def _played(fault: Fault, folder: Path, clock: Clock) -> tuple[Happened, Verdict]:
    if fault.play is None:
        assert fault.scenario is not None
        story = fault.scenario
        words = f"{story.hours:g} simulated hours of {story.devices} devices"
        return Happened(words), fleet.run(story)
    with stand(fault, folder, clock) as built:
        happened = fault.play(built)
        if fault.drained:
            built.rig.drain()
        else:
            built.rig.agent.stop()
        return happened, built.rig.verdict(drained=fault.drained)


@contextlib.contextmanager
def stand(fault: Fault, folder: Path, clock: Clock) -> Iterator[Stand]:
    """Give a running central and a loaded device, built for this fault.

    Raises:
        NotPermitted: This machine does not let us.
    """
    with contextlib.ExitStack() as stack:
        disk = central_folder(folder / "disk", stack)
        size_mb = fault.device_disk_mb or fault.central_disk_mb
        if size_mb:
            stack.enter_context(faults.small_disk(disk, size_mb))
        told = folder / "shift"
        environment: dict[str, str] = {}
        if fault.device_clock:
            told.write_text(fault.device_clock, encoding="ascii")
            environment = faults.wrong_clock(told)
        rig = Rig(
            folder,
            clock,
            every_s=fault.every_s,
            quota_mb=fault.quota_mb,
            state_dir=disk / "device" if fault.device_disk_mb else None,
            central_dir=disk / "central" if fault.central_disk_mb else None,
            environment=environment,
        )
        yield Stand(stack.enter_context(rig), folder, disk, told, fault.device_clock)
