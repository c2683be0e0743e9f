"""Compression: the stages of a run, from checked configuration to judged model."""
