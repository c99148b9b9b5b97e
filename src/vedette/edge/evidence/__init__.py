"""Evidence: a clip, its facts and a poster, kept on the device because a rule asked for it.

    store = EvidenceStore(state_dir / "evidence", config.evidence, clock)
    for record in store.leftovers():          # after a crash: what was finished or lost
        spool.put("evidence.v1", record); store.mark_reported(record.evidence)
    ...
    store.note(camera, frame.t_s, boxes)                    # every analysed frame
    refused = store.request(Wanted(event=…, at_t_s=frame.t_s, picture=frame.picture), ring)
    ...
    for record in store.work():               # from a thread of its own, twice a second
        spool.put("evidence.v1", record); store.mark_reported(record.evidence)

Where things are: `store` what is wanted and when it is ready · `shelf` the folder, its budgets and
its crash safety · `clip` remuxing · `poster` the still picture.

The rules: video is never encoded again; a package is whole or not there; pixels stay here unless
the pixel policy says otherwise, which is not decided in this room.
"""

from vedette.edge.evidence.catalog import PackageInfo
from vedette.edge.evidence.shelf import verify
from vedette.edge.evidence.store import EvidenceStore, Wanted

__all__ = ["EvidenceStore", "PackageInfo", "Wanted", "verify"]
