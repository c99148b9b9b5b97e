"""Alerts that a device drives by itself: what its own rules see goes to channels at the site.

    spool ──desk──▶ matching, conditions ──▶ deciding ──▶ carrier per channel ──▶ mqtt, webhook,
    health report ─▶                                                              command

    said        which channels and rules hold here: the site's policy, and rules of central's
    matching    which rules an event fires (pure)
    conditions  which trouble is new, and which is over (pure)
    deciding    what is due now, and what central took meanwhile (pure)
    carrier     one channel's queue and thread: in order, again with backoff, dropped with a count
    ways        one attempt: `mqtt`, `webhook`, `command`
    desk        reads news, asks the above, keeps how far it came

The rules: where an alert goes and what may be started is said by the site's key alone. Nothing here
holds up the pipeline or the uplink: the desk only reads, each channel waits in a thread of its own,
and every queue is bounded. What central took in time is not told twice.
"""
