"""What is kept, how large it is, and how central is: in, pages out. Pure."""

from collections.abc import Sequence
from typing import Literal

from vedette.central.console.settings.frame import Frame, framed
from vedette.central.console.text import bytes_text
from vedette.central.upkeep import Condition, JobRun, Kept, Partitions, complaints


def signed_bytes(count: float) -> str:
    """Return `+3.4 MB`: how much is added, or taken away, each day."""
    sign = "+" if count > 0 else "−" if count < 0 else ""
    return f"{sign}{bytes_text(round(abs(count)))}"


def job_state(job: JobRun) -> Literal["ok", "failed", "never"]:
    """Return how a job went last."""
    if job.failed_ms is not None and job.failed_ms > (job.ended_ms or 0):
        return "failed"
    return "ok" if job.ended_ms is not None else "never"


def retention_html(
    frame: Frame, kept: Sequence[Kept], partitions: Sequence[Partitions], *, file: str
) -> str:
    """Return the page that says what is kept for how long; `file` is where that is set."""
    total = sum(one.bytes for one in kept)
    growths = [one.growth_bytes for one in kept]
    known = [growth for growth in growths if growth is not None]
    return framed(
        "retention",
        frame,
        "retention",
        kept=kept,
        partitions=partitions,
        total=total,
        growth=sum(known) if known else None,
        signed_bytes=signed_bytes,
        file=file,
    )


def health_html(frame: Frame, now: Condition) -> str:
    """Return the page of central's own health."""
    wrong = complaints(now)
    return framed(
        "health",
        frame,
        "health",
        now=now,
        wrong=wrong,
        jobs=[(job, job_state(job)) for job in now.jobs],
    )
