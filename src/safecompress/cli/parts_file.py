"""`parts.json`: what `safecompress list` says of built-in parts, so that none is imported for it.

`make reference` writes it from the registries themselves, whose modules take seconds to import; a
test fails where the committed file is not what it writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from safecompress.cli.part import part_document
from safecompress.display.console import json_text
from safecompress.registry import BUILT_IN, Part, Registry

FILE = "parts.json"


@dataclass(frozen=True)
class Kind:
    """One kind of part: what the file says of it, and what other packages publish.

    Args:
        name: as `safecompress list` calls it.
        registry: its parts; the built-in ones are there to be listed and cannot be built.
        built_in: all that is known of each built-in part, by its name.
    """

    name: str
    registry: Registry[Any]
    built_in: Mapping[str, Mapping[str, Any]]

    def document(self, part: Part[Any]) -> Mapping[str, Any]:
        """Return all that is known of a part as JSON, as `part_document` does.

        Args:
            part: one of the registry, or of its survey.
        """
        if part.package == BUILT_IN:
            return self.built_in[part.name]
        document = part_document(part, kind=self.name, given=self.registry.given)
        # Defaults of any type become what the file holds for built-in parts.
        return json.loads(json_text(document))  # type: ignore[no-any-return]


def kinds() -> dict[str, Kind]:
    """Return every kind by its name, as the file has them; imports no part."""
    text = files("safecompress.cli").joinpath(FILE).read_text(encoding="utf-8")
    return {name: _kind(name, entry) for name, entry in json.loads(text).items()}


def _kind(name: str, entry: Mapping[str, Any]) -> Kind:
    registry = Registry[Any](entry["kind"], entry["group"], given=tuple(entry["given"]))
    for part in entry["parts"]:
        facts = {key: part[key] for key in ("summary", "reference", "cost")}
        registry.add(part["name"], _only_listed, **facts)
    return Kind(name, registry, {part["name"]: part for part in entry["parts"]})


def _only_listed(**options: Any) -> Any:
    del options
    raise RuntimeError("a part that was read from the list of parts cannot be built")


def parts_file() -> str:
    """Return the text of `parts.json`; imports every part."""
    from safecompress.cli.kinds import KINDS

    document = {
        kind: {
            "kind": registry.kind,
            "group": registry.group,
            "given": registry.given,
            "parts": [
                part_document(part, kind=kind, given=registry.given)
                for part in registry.parts.values()
            ],
        }
        for kind, registry in KINDS.items()
    }
    return json_text(document, indent=1) + "\n"
