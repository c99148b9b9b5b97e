"""The spool: the device's durable, ordered queue and the hand-over between its two processes.

    entry     one message on its way in (pure)
    rows      single rows and values, written and numbered
    pack      old messages compressed together
    kept      what central acknowledged and may lose again
    evict     what leaves without an acknowledgement
    store     what one transaction does: admit, settle, pick
    file      the SQLite file: locks between processes, checks, replacement
    salvage   what can be read of a broken file
    bell      whoever committed an alert rings it, and the agent looks at once
    spool     `Spool`: what the pipeline and the agent hold

The rule: nothing that was committed leaves without central's acknowledgement or a tombstone.
"""

from vedette.edge.spool.bell import Listener
from vedette.edge.spool.entry import ClockNote
from vedette.edge.spool.file import peek, raise_epoch
from vedette.edge.spool.spool import Kept, Spool, SpoolStatus

__all__ = ["ClockNote", "Kept", "Listener", "Spool", "SpoolStatus", "peek", "raise_epoch"]
