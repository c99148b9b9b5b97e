"""Numbers about numbers: what merges exactly, what is estimated, and how far it can be trusted.

Pure: no clock, no I/O, no threads. Needs nothing beyond the standard library and `wire`, but
`sequential` NumPy: it is central's and the workbench's, never asked for on a device.
"""
