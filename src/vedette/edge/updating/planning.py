"""Which jobs an assignment makes of a book, and what each of them stands on. Pure."""

import msgspec

from vedette.edge.updating.journal import ACTIVE, ENDED, Book, Job, Slot, has_failed, job_name
from vedette.edge.updating.kinds import Installed, Standing
from vedette.wire.slots import UpdateHealth, UpdateState
from vedette.wire.updates import Assigned, UpdateReport


def follow(book: Book, now_ms: int) -> Book:
    """Return the book with a job for each item of its assignment.

    What runs on probation stays until it has gone back; what was not begun to be used is replaced.
    """
    jobs = dict(book.jobs)
    for item in book.assignment.items if book.assignment else []:
        name, fresh = job_name(item), Job(assigned=item, since_ms=now_ms)
        held = jobs.get(name)
        if held is not None and held.key == fresh.key:
            if held.state not in ENDED and held.assigned != item:
                jobs[name] = msgspec.structs.replace(held, assigned=item)
            continue
        slot = book.slots.get(item.slot)
        is_busy = held is not None and held.state in ACTIVE
        if not is_busy and not (slot is not None and has_failed(slot, fresh)):
            jobs[name] = fresh
    return book if jobs == book.jobs else msgspec.structs.replace(book, jobs=jobs)


def asked(book: Book, name: str) -> Assigned | None:
    """Return what the newest assignment wants under this name."""
    items = book.assignment.items if book.assignment else []
    return next((item for item in items if job_name(item) == name), None)


def here(slot: Slot, digest: str, standing: Standing) -> Installed | None:
    """Return what is installed of this digest already, in a slot."""
    for one in (slot.running, slot.previous):
        if one is not None and one.digest == digest:
            return one
    came = slot.came_with or (standing.running if slot.running is None else "")
    if came and came == digest:
        return came_with(slot, digest, "")
    return None


def came_with(slot: Slot, digest: str, name: str) -> Installed:
    """Return what the device came with: it lies in no folder of ours."""
    return Installed(kind=slot.kind, slot=name, digest=digest, folder="")


def report_of(job: Job, running: str, at_ms: int) -> UpdateReport:
    """Return what is told of a job's present state."""
    item = job.assigned
    return UpdateReport(
        at_ms=at_ms,
        rollout=item.rollout,
        slot=item.slot,
        kind=item.artefact.kind,
        attempt=item.attempt,
        digest=item.artefact.digest,
        state=job.state,
        was=job.was,
        running=running,
        detail=job.problem[:1000],
        saved_bytes=job.saved_bytes,
    )


def health_of(
    name: str, slot: Slot, job: Job | None, standing: Standing, done_bytes: int
) -> UpdateHealth:
    """Return one slot, or one job in it, as the health report says it."""
    item = job.assigned if job else None
    previous = slot.previous.digest if slot.previous else ""
    return UpdateHealth(
        slot=name,
        kind=slot.kind,
        rollout=item.rollout if item else "",
        attempt=item.attempt if item else 0,
        state=job.state if job else None,
        since_ms=job.since_ms if job else None,
        digest=item.artefact.digest if item else "",
        running=standing.running,
        previous=previous,
        bytes_done=_done(job, done_bytes),
        bytes=item.artefact.bytes if item else 0,
        problem=((job.problem if job else "") or standing.problem)[:500],
        load_s=standing.load_s,
        golden_ok=standing.golden_ok,
        saved_bytes=job.saved_bytes if job else 0,
    )


def _done(job: Job | None, done_bytes: int) -> int:
    if job is None or job.state is UpdateState.ASSIGNED:
        return done_bytes
    return job.assigned.artefact.bytes
