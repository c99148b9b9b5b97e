"""Who may say what: keys, signed documents, device identity. No network, no clock.

Nothing unsigned is parsed and no signer is believed beyond the document they may sign; who that is
is decided by the caller, which chooses the keys. `trust.keys` alone touches the disk.
"""
