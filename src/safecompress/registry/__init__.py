"""`Registry` and `Part`: what a configuration can name, built in or published by other packages."""

from __future__ import annotations

from safecompress.registry.options import Option, options_of, text_of
from safecompress.registry.registry import BUILT_IN, Part, Registry, Survey, split_request

__all__ = [
    "BUILT_IN",
    "Option",
    "Part",
    "Registry",
    "Survey",
    "options_of",
    "split_request",
    "text_of",
]
