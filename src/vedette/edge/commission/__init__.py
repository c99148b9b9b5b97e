"""Commissioning: the point at installation that every later comparison stands on.

A person stands before the camera once. What they confirmed then (view, focus, light, zones), the
reference picture of the scene, a sample that they labelled on the spot and one minute of the real
pipeline are kept per camera.

Where things are: `record` what is kept and where · `session` the steps, one function each · the
terminal that asks the questions is `cli.edge_commission`.

The rule: a step that nobody answered is `skipped` and the record says so; it is never taken for a
yes.
"""

from vedette.edge.commission.record import (
    CommissionRecord,
    Sample,
    load,
    load_reference,
    save,
)

__all__ = [
    "CommissionRecord",
    "Sample",
    "load",
    "load_reference",
    "save",
]
