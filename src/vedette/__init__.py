"""Vedette runs computer vision on devices at many sites and says honestly when it stops working."""

__version__ = "0.1.0.dev0"
