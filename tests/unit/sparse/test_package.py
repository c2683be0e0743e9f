"""The package's public names."""

from __future__ import annotations

from safecompress import sparse


def test_every_public_name_exists_and_is_sorted():
    assert all(hasattr(sparse, name) for name in sparse.__all__)
    constants = [name for name in sparse.__all__ if name.isupper()]
    classes = [name for name in sparse.__all__ if not name.isupper() and name[0].isupper()]
    functions = [name for name in sparse.__all__ if name[0].islower()]
    assert list(sparse.__all__) == sorted(constants) + sorted(classes) + sorted(functions)
