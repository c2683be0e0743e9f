"""`Part`, the base class of verdict documents and their parts, and `Figure`, their numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Self, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetJsonSchemaHandler,
    JsonValue,
    ValidationError,
    model_serializer,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from safecompress.errors import DataError


def finite(value: Any) -> Any:
    """Return JSON in which NaN and infinities, which JSON cannot express, are null.

    Args:
        value: numbers, alone or inside of mappings, lists and tuples.

    >>> finite({"value": float("nan"), "low": [1.0, float("-inf")]})
    {'value': None, 'low': [1.0, None]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def encodable(value: Any) -> Any:
    r"""Return text, alone or inside of containers, with `?` for what UTF-8 cannot encode.

    Args:
        value: text, alone or inside of dictionaries, lists and tuples.

    >>> encodable(("a", "b\udcff"))
    ('a', 'b?')
    """
    if type(value) is str:
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {encodable(key): encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(encodable, value))
    return value


Figure: TypeAlias = Annotated[float | None, BeforeValidator(finite)]
"""A measured number; None where it is NaN, infinite or could not be measured."""
Text: TypeAlias = Annotated[str, BeforeValidator(encodable)]
"""Text that UTF-8 can encode; names of files may contain bytes that it cannot."""
Facts: TypeAlias = Annotated[
    dict[str, JsonValue], BeforeValidator(lambda value: encodable(finite(value)))
]
"""JSON whose keys are not fixed, such as versions of libraries."""


class Part(BaseModel):
    """A part of a verdict document: immutable, without unknown fields, and with finite numbers.

    A field whose default is None is left out of the JSON where it is None: it says something that
    only some documents can say. A field without a default is always there, null where it may be.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    def to_json(self) -> dict[str, Any]:
        """Return the part as JSON: plain dictionaries, lists, text and finite numbers."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read what `to_json` returned, of this release or of a later one with more fields.

        Args:
            value: parsed JSON. Unknown fields are ignored, as docs/verdict.md promises.

        Raises:
            DataError: naming the first field that is missing or of another type.
        """
        while True:
            try:
                return cls.model_validate_json(json.dumps(value))
            except ValidationError as error:
                value, known = _without_unknown(value, error)
                if known:
                    first = next(e for e in error.errors() if e["type"] != "extra_forbidden")
                    where = ".".join(map(str, first["loc"])) or "document"
                    raise DataError(f"{where}: {first['msg']}") from error

    @model_serializer(mode="wrap")
    def _without_empty_options(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        left_out = [n for n in _optional(type(self)) if fields.get(n) is None]
        return {name: value for name, value in fields.items() if name not in left_out}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe documents as they are written; readers must accept fields of later releases."""
        reference = handler(core)
        schema = handler.resolve_ref_schema(reference)
        schema.pop("additionalProperties", None)
        for name in _optional(cls):
            described = schema["properties"][name]
            described.pop("default", None)
            (described["anyOf"],) = ([s for s in described["anyOf"] if s != {"type": "null"}],)
            if len(described["anyOf"]) == 1:
                described.update(described.pop("anyOf")[0])
        return reference


def _optional(part: type[Part]) -> list[str]:
    """Return the names of the fields that are left out where they are None."""
    fields = part.model_fields.items()
    return [name for name, field in fields if not field.is_required() and field.default is None]


def _without_unknown(value: object, error: ValidationError) -> tuple[object, bool]:
    """Return JSON without its unknown fields, and whether something else is wrong with it."""
    details = error.errors()
    unknown = [e["loc"] for e in details if e["type"] == "extra_forbidden"]
    copy: Any = json.loads(json.dumps(value))
    for *above, name in unknown:
        place = copy
        for step in above:
            place = place[step]
        del place[name]
    return copy, len(unknown) < len(details)
