"""Verdicts: how checks and controls become one word, and the data behind it."""
