"""`written`, `facts_in`: a format's bytes and the facts in its file, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safecompress.errors import ModelError, PartError, blaming
from safecompress.export.context import ExportContext
from safecompress.export.format import Format


def written(form: Format, context: ExportContext, given: Mapping[str, Any]) -> bytes:
    """Return the bytes of a file after checking that they are bytes.

    Args:
        form: the format.
        context: what is written.
        given: facts that go into the file, by name.

    Raises:
        PartError: when the format returns something else.
    """
    with blaming(form, f"export: the format '{form.name}'"):
        content: Any = form.write(context, given)
    if not isinstance(content, bytes):
        raise PartError(
            f"export: the format '{form.name}' ({type(form).__module__}) wrote "
            f"{type(content).__name__}; expected bytes."
        )
    return content


def facts_in(file: Path, form: Format, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that a file just written holds.

    Args:
        file: the file.
        form: its format.
        given: the facts that it was written with, by name.

    Raises:
        ModelError: when the format lost one of the facts that it was given.
    """
    with blaming(form, f"export: the format '{form.name}'"):
        facts = dict(form.verify(file))
    lost = [name for name, fact in given.items() if name not in facts or facts[name] != fact]
    if lost:
        raise ModelError(
            f"export: a file of the format {form.name} does not hold the facts it was written "
            f"with ({', '.join(lost)}); its `verify` must return those that `write` was given."
        )
    return facts
