"""The numbers that messages carry, with the limits that are checked while they are read."""

import sys
from typing import Annotated, Final

import msgspec

MAX_WHOLE: Final = 2**53
"""The largest whole number that every program reads as it was written."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_WHOLE)]
"""A count, a size or a time: never below zero, refused while it is read."""

Finite = Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
"""A number, neither infinite nor NaN: refused while it is read."""
