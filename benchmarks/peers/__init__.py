"""Adapters that let other tools do the exercise of `benchmarks/audit_speed.py`."""
