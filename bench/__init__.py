"""Benchmarks: `python -m bench NAME --json` prints one JSON line, peer and baseline measured in the same run."""
