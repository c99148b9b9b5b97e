"""The registry of models: what there is, where it comes from, how well it does, what its gates say.

Central registers manifests and records of measurements; it never holds a network, and never runs
one. What may be installed is decided by signatures elsewhere (`trust`): a passed gate allows
nothing by itself.
"""
