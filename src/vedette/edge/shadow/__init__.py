"""A candidate beside the model in use: the same pictures, no consequences.

    worker ──after its own result, where nobody waits──▶ desk.offer      one picture at a time
    shadow thread ─▶ candidate (a process of its own, lowest priority) ─▶ pairing ─▶ tally, sample
                                                                              └─▶ spool

`desk` joins it; `candidate` and `child` are the two ends of the guarded process; `pairing` says
what is the same object, `tally` adds up, `sampling` chooses what a person shall judge, `picture`
makes of it what the site's policy lets go.
"""
