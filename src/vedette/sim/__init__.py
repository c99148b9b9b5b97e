"""Simulated cameras, footage, networks and faults: real interfaces, no hardware.

May import every room below it. Nothing of the product depends on it; tests, demos and people who
try things out do.
"""
