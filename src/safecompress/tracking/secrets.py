"""`redacted`: a text without what the environment holds as secrets."""

from __future__ import annotations

import os
import re

from safecompress.config.trackers import without_login

_SECRET_NAME = re.compile(r"(?i)key|token|secret|passw|credential|auth")
_SHORTEST = 6
"""Shorter values are words such as `true`, which stand in any text."""


def redacted(text: str) -> str:
    """Return a text in which secrets are replaced by `***`.

    Secrets are the values of environment variables whose names say so, such as `WANDB_API_KEY`,
    and the names and passwords in addresses.

    Args:
        text: any text.

    >>> redacted("no answer from https://me:word@host/api")
    'no answer from https://***@host/api'
    """
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST:
            text = text.replace(value, "***")
    return without_login(text)
