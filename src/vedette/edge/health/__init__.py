"""How the machine is: one probe behind one interface, read every report period.

    system       what every machine tells, and the report's part about it
    boards       which board this is; reads it in a thread of its own
    linux, raspberry_pi, jetson, nvidia    what each kind of board tells
    watch        what outlasts one reading: boots, crashes, trends
    boots        why the machine started anew; `traces`: what it left behind about that
    exits        how a process ended; memory: whether one leaks

A probe never raises for a sensor that is not there: what this machine cannot tell is `None` or
absent, never zero. Files of `/sys` and `/proc` before tools; a tool seldom, bounded, without shell.
"""

from vedette.edge.health.system import SystemProbe
from vedette.edge.health.watch import HealthWatch, Probe

__all__ = ["HealthWatch", "Probe", "SystemProbe"]
