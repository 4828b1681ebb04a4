"""Approved purposes and the values that tasks run under."""
