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
its crash safety · `clip` remuxing · `poster` the still picture · `leaving` what the site's policy
lets go to central, which `edge.clips` sends.

The rules: video is never encoded again; a package is whole or not there; pixels stay here unless
the pixel policy says otherwise. Nothing is imported here: the agent reads packages (`leaving`,
`catalog`, `facts`) and never loads what decodes video.
"""
