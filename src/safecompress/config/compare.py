"""The sections of a comparison of methods over cohorts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from safecompress.config.section import InputFile, Request, Section

Density = Annotated[float, Field(gt=0, le=1)]
Models = Annotated[int, Field(ge=4)]


def _file_name(text: str) -> str:
    if not text or text != text.strip(" .") or any(c in '/\\:*?"<>|' for c in text):
        raise ValueError(f"'{text}' names files; expected letters, digits, spaces, - . _ + ( )")
    return text


Name = Annotated[str, AfterValidator(_file_name)]


class ComparedDataConfig(Section):
    """A data set, as a configuration of `compress` states it, and how its models are trained.

    Args:
        config: the configuration's file; its data, model and dense training are every method's.
        set: assignments to it, as `--set` takes them.
        models: models of its cohorts instead of the comparison's number; large sets afford fewer.
        densities: its own instead of the comparison's.
    """

    config: InputFile
    set: tuple[str, ...] = ()
    models: Models | None = None
    densities: tuple[Density, ...] | None = None


class MethodConfig(Section):
    """A way to a model: what is set otherwise than in the data set's configuration.

    Args:
        set: assignments, as `--set` takes them.
        densities: its own instead of all others; a dense model's is `[1]`.
        says: what it is, in a few words.
    """

    set: tuple[str, ...] = ()
    densities: tuple[Density, ...] | None = None
    says: str = ""


class CompareConfig(Section):
    """Everything `safecompress compare` needs.

    A cell is one method on one data set at one density: a cohort of models, each trained on its
    own draw of the rows, each once the target of every attack while the others are its shadow
    models.

    Args:
        data: the data sets, by name.
        methods: the methods, by name.
        densities: shares of the maskable weights kept.
        models: models of a cohort, at least 4.
        attacks: attacks on every target.
        reference: the method that all others are compared with.
        seed: fixes every random decision; all methods draw the same rows by it.
        workers: models trained at once; None is one for every core.
        backend: `local`, or `ray`: a cluster whose machines share the folder.
        keep: whether the cohorts, what every model says of every row, stay beside the table.
        out: folder of the results; by default `comparisons/NAME`.
    """

    data: Annotated[dict[Name, ComparedDataConfig], Field(min_length=1)]
    methods: Annotated[dict[Name, MethodConfig], Field(min_length=1)]
    densities: Annotated[tuple[Density, ...], Field(min_length=1)] = (0.05,)
    models: Models = 8
    attacks: Annotated[tuple[Request, ...], Field(min_length=1)] = (
        "loss",
        "modified-entropy",
        "neural",
        "gap",
        "lira-online",
        "lira-offline",
        "rmia",
    )
    reference: str | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    workers: Annotated[int, Field(gt=0)] | None = None
    backend: Literal["local", "ray"] = "local"
    keep: bool = False
    out: Path | None = None

    @model_validator(mode="after")
    def _reference_is_there(self) -> CompareConfig:
        if self.reference is not None and self.reference not in self.methods:
            raise ValueError(
                f"reference is '{self.reference}', which is none of the methods: "
                f"{', '.join(self.methods)}"
            )
        return self
