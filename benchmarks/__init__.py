"""Measurements, never timed tests: ``make bench``; every figure is a ratio to a baseline of the same run."""
