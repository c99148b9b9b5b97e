"""Questions about the fleet, answered fast and with what is missing: value, coverage, causes.

    runs, keeping    coverage resolved once by `central.coverage` and kept by camera and day
    strips           reading it back, with what is not final yet resolved at once
    packing, weeks   metrics laid out by hour, a row per device, metric and day; weeks that are over
    sketch_days      sketches of whole devices by day and week
    minutes          sums of the last minutes in memory, each checked against the database
    openings         the hours in which sites are open, to ask for those alone

The rule: what is kept here is derived. It equals what the ledger and the rollups say at any time,
late news included, and where it does not yet, the reader goes to the source.
"""
