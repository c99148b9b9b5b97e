"""Thousands of devices over the real protocol, from one process.

    content    what a plausible device says, seeded
    template   the same as bytes with holes for times and numbers: for speed
    http       a bounded pool of keep-alive connections
    roll       who is in the fleet: keys, names, tokens; enrolled by the protocol or in bulk
    load       the load generator: in step with real time, as fast as it goes, or a backlog
    own        a central of our own to try it on, and what everybody costs in CPU time

Not here: one device with its faults and books (`sim.rig` runs the real agent). The rule: everything
goes through the device API as a device would send it; only who is enrolled may be written into the
database, because central rightly limits how many may enrol from one address.
"""
