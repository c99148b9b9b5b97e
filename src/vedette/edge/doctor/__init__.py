"""`vedette edge doctor`: is this device fit for what it is configured to do?

Where things are: `finding` what a check says · `eye` one camera, opened to look at · `camera` what
is judged of a camera · `machine` clock, disk, memory, heat, central · `alerts` local channels ·
`models` models and whether the machine keeps up with them · `orientation` whether a camera hangs
upside down.

The rule: everything is tried for real (the camera is opened, the model is run, the disk is
written), and what could not be tried is `unknown`, never fine.
"""

from vedette.edge.doctor.camera import look_at
from vedette.edge.doctor.eye import Eye, Sighting
from vedette.edge.doctor.finding import Finding, Verdict, worst
from vedette.edge.doctor.machine import machine_findings
from vedette.edge.doctor.models import model_findings
from vedette.edge.doctor.orientation import judge_orientation, orientation

__all__ = [
    "Eye",
    "Finding",
    "Sighting",
    "Verdict",
    "judge_orientation",
    "look_at",
    "machine_findings",
    "model_findings",
    "orientation",
    "worst",
]
