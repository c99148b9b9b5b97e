"""Numbers about numbers: what merges exactly, what is estimated, and how far it can be trusted.

Pure: no clock, no I/O, no threads. Needs nothing beyond the standard library and `wire`.
"""
