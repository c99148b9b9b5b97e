"""Every route of the settings, by what they are about."""

from typing import Any, Final

from vedette.central.console.settings import (
    auditing,
    organising,
    own,
    places,
    reached,
    upkeep,
    users,
)

OWN: Final[list[Any]] = [
    *own.OWN,
    *reached.OWN,
    *users.OWN,
    *places.OWN,
    *organising.OWN,
    *auditing.OWN,
    *upkeep.OWN,
]
