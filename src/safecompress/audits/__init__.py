"""Audits: what is judged, which suite judges it, and what fits into a given time."""
