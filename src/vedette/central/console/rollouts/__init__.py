"""The screen of rollouts: what is on its way into the fleet, how far, on what evidence, by whom."""
