"""The command line: one file per verb."""

from safecompress.cli.app import app, main

__all__ = ["app", "main"]
