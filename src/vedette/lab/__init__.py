"""The workbench: making model bundles. See `centernet.py` for the demo model."""
