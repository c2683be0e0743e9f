"""`Section`, the base of every section of a configuration, and the types that sections share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr

from safecompress.config.references import References

Request: TypeAlias = str | dict[str, Any]
"""How a configuration names a part of a registry: `name` or `{name: {option: value}}`."""
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
ImportPath = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")]
"""Import path of a function of the user's own, `package.module:function`."""
Share = Annotated[float, Field(gt=0.0, lt=1.0)]
# Paths are made absolute when they are read, so that a run can be resumed from another folder.
InputFile = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


class Section(BaseModel):
    """Base of every section: immutable, no unknown keys, no silent conversions of text.

    Options of a configuration are fields with `Field(description=...)`. That text is the only
    place that describes an option: editors read it from the JSON schema, and `docs/options.md` is
    made from it. It says in plain sentences what the option is, its unit and range where the type
    does not, what the default means, and when to change it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    _references: References = PrivateAttr(default=References())

    @property
    def references_(self) -> References:
        """The environment variables that it was written with, where it is a whole configuration."""
        return self._references

    def set_references_(self, references: References) -> None:
        """Note the environment variables that it was written with; only for who reads it.

        Args:
            references: what `expanded` found.
        """
        self._references = references
