"""What memory had to drop while the disk refused, until a tombstone says so."""

from dataclasses import dataclass, field

from vedette.edge.spool.entry import Entry
from vedette.wire.streams import Lane


@dataclass(slots=True)
class Dropped:
    """What memory had to drop since the last tombstone said so: bounded, whatever is dropped."""

    messages: int = 0
    lane: Lane = Lane.LIVE
    cameras: set[str] = field(default_factory=set)
    start_ms: int = 0
    end_ms: int = 0

    def add(self, item: Entry) -> None:
        """Count one message, and the time that is lost with it where it carried coverage."""
        if item.camera:
            first = not self.cameras
            self.start_ms = item.start_ms if first else min(self.start_ms, item.start_ms)
            self.end_ms = item.end_ms if first else max(self.end_ms, item.end_ms)
            self.cameras.add(item.camera)
        elif not self.messages:
            self.start_ms = self.end_ms = item.start_ms
        self.lane = item.row.lane
        self.messages += 1
