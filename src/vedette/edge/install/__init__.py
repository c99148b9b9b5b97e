"""Making this machine a device for good: user, folders, configuration, service unit.

    unit    the text of the systemd unit
    plan    what has to change on a machine, decided without touching it
    carry   doing it, step by step

The rule: what is right already is left alone, so installing twice changes nothing, and nothing that
a device recorded is ever removed.
"""
