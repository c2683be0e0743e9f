"""Verdicts: one status from all checks and controls, and the documents that state it."""
