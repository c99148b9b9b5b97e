"""Pixels and boxes without I/O: planes, preprocessing, heads, quality, tamper, tracks, zones.

Nothing here opens a file, reads a clock, logs or starts a thread; time comes in as seconds (`t_s`)
on any clock that only moves forward. The same code runs on the device and in the workbench, so a
picture becomes the same tensor in both.
"""
