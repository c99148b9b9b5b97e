"""How a machine's health reads in `vedette edge status`, and what the doctor says of its past."""

from vedette.cli.machine_facts import machine_facts
from vedette.edge.doctor import Verdict
from vedette.edge.doctor.machine import last_report
from vedette.wire.messages import HealthReport, PipelineHealth, SystemHealth

KNOWN = SystemHealth(
    hardware="Raspberry Pi 5 [b]", probe="raspberry_pi", power_w=4.25, uptime_s=7200,
    cpu_fraction=0.31, fan_fraction=0.4, temperatures_c={"cpu": 61.2, "rp1": 49.0},
    throttle_flags=["under-voltage-occurred"], reboot_cause="power_lost",
    reboot_detail="it came up from no power", reboots=3, agent_crashes=1, agent_exit="the reboot",
    growth_mb_per_h={"pipeline": 12.34},
)  # fmt: skip


def test_what_is_known_has_a_row_and_markup_in_it_stays_text():
    """A board's name is the maker's word, never formatting."""
    rows = dict(machine_facts(KNOWN))
    assert rows["machine"] == "Raspberry Pi 5 \\[b], as raspberry_pi, 4.2 W, up 2.0 h"
    assert rows["load"] == "CPU 31%, fan 40%"
    assert rows["heat"] == "cpu 61 °C, rp1 49 °C"
    assert rows["throttling"] == "under-voltage-occurred"
    assert rows["last reboot"] == "power lost (it came up from no power); 3 so far"
    assert rows["memory grows"] == "the pipeline by 12.3 MB an hour"
    assert rows["agent"] == "1 crashes so far; the one before: the reboot"


def test_what_a_machine_cannot_tell_has_no_row():
    """Nothing known: nothing said."""
    assert machine_facts(SystemHealth()) == []
    assert dict(machine_facts(SystemHealth(throttle_flags=[])))["throttling"] == "none"


def test_the_doctor_warns_of_a_bad_past_and_says_what_to_do():
    """Reboot, crashes and growth each have a finding; without a report there is none."""
    pipeline = PipelineHealth(running=True, crashes=2, last_exit="signal SIGSEGV")
    report = HealthReport(at_ms=1, period_s=30, version="x", system=KNOWN, pipeline=pipeline)
    found = {finding.check: finding for finding in last_report(report)}
    assert set(found) == {"last reboot", "crashes", "memory of the pipeline"}
    assert all(f.verdict is Verdict.WARNING and f.advice for f in found.values())
    assert "3 of agent and pipeline; last end: signal SIGSEGV" in found["crashes"].detail
    clean = SystemHealth(reboot_cause="clean", reboot_detail="in order")
    (only,) = last_report(HealthReport(at_ms=1, period_s=30, version="x", system=clean))
    assert (only.check, only.verdict, only.advice) == ("last reboot", Verdict.OK, "")
    assert last_report(None) == []
