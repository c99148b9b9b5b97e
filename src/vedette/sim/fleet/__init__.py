"""Thousands of devices over the real protocol, from one process.

    content    what a plausible device says, seeded
    template   the same as bytes with holes for times and numbers: for speed
    http       a bounded pool of keep-alive connections
    roll       who is in the fleet: keys, names, tokens; enrolled by the protocol or in bulk
    load       the load generator: in step with real time, as fast as it goes, or a backlog
    book       a simulated device's spool, in memory
    device     one simulated device: clocks, cameras, faults, and what is true of its time
    scenario   what happens to a fleet, as a file
    inside     central in this process, its clock in our hand
    simulate   hours of a fleet in seconds
    books      what was sent and what was true against what central has
    campaign   all of it: scenario in, verdict out
    own        a central of our own to try it on, and what everybody costs in CPU time

Not here: the real agent under faults (`sim.rig`). The rule: everything
goes through the device API as a device would send it; only who is enrolled may be written into the
database, because central rightly limits how many may enrol from one address.
"""
