"""The contestants of `bench_peers.py`; each script runs in its own environment."""
