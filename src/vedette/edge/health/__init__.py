"""How the machine is: one probe behind one interface, read every report period.

A probe never raises for a sensor that is not there: what this machine cannot tell is `None` or
absent, never zero.
"""

from vedette.edge.health.system import SystemProbe

__all__ = ["SystemProbe"]
