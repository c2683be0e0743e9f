"""Benchmarks of the project's goals; each module is a command, `python -m benchmarks.NAME`."""
