"""What a job shows while it works: lines and a bar, or in notebooks one line that changes."""

from safecompress.display.console import EventDisplay, RunState, duration, print_json, say
from safecompress.display.python import shown

__all__ = ["EventDisplay", "RunState", "duration", "print_json", "say", "shown"]
