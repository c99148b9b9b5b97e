"""Central: the service that knows the fleet. See `app.py` for the list of what it is made of."""
