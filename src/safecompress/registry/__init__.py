"""`Registry` and `Part`: what a configuration can name, built in or published by other packages."""

from __future__ import annotations

from safecompress.registry.registry import Part, Registry, Survey, split_request

__all__ = ["Part", "Registry", "Survey", "split_request"]
