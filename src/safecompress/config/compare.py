"""`CompareConfig` and its sections: the configuration of a comparison of methods."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from safecompress.config.section import InputFile, Request, Section
from safecompress.config.trackers import TRACKERS_HELP, Trackers

Density = Annotated[float, Field(gt=0, le=1)]
Models = Annotated[int, Field(ge=4)]


def _file_name(text: str) -> str:
    if not text or text != text.strip(" .") or any(c in '/\\:*?"<>|' for c in text):
        raise ValueError(f"'{text}' names files; expected letters, digits, spaces, - . _ + ( )")
    return text


Name = Annotated[str, AfterValidator(_file_name)]


class ComparedDataConfig(Section):
    """A data set, as a configuration of `compress` states it, and how its models are trained."""

    config: InputFile = Field(
        description="File of a configuration of `compress`; its data, model and dense training "
        "are those of every method."
    )
    set: tuple[str, ...] = Field(
        default=(),
        description="Assignments to that configuration, as `--set` takes them, such as "
        "`dense.epochs=30`. Empty changes nothing.",
    )
    models: Models | None = Field(
        default=None,
        description="Number of models of this data set's cohorts, at least 4. Left out, it is the "
        "comparison's; large data sets afford fewer.",
    )
    densities: tuple[Density, ...] | None = Field(
        default=None,
        description="Densities on this data set, each in (0, 1]. Left out, they are the "
        "comparison's.",
    )


class MethodConfig(Section):
    """A way to a model: what is set otherwise than in the data set's configuration."""

    set: tuple[str, ...] = Field(
        default=(),
        description="Assignments that make the method, as `--set` takes them, such as "
        "`steer.proposals=[rigl]`. Empty takes the data set's configuration as it is.",
    )
    densities: tuple[Density, ...] | None = Field(
        default=None,
        description="Densities of this method, each in (0, 1], instead of all others; a dense "
        "model's is `[1]`. Left out, they are the data set's.",
    )
    says: str = Field(
        default="",
        description="What the method is, in a few words for the table. Empty says nothing.",
    )


class CompareConfig(Section):
    """Everything `safecompress compare` needs.

    A cell is one method on one data set at one density: a cohort of models, each trained on its
    own draw of the rows, each once the target of every attack while the others are its shadow
    models.
    """

    data: dict[Name, ComparedDataConfig] = Field(
        min_length=1,
        description="The data sets by name, at least one. Names become parts of file names.",
    )
    methods: dict[Name, MethodConfig] = Field(
        min_length=1,
        description="The methods by name, at least one. Names become parts of file names.",
    )
    densities: tuple[Density, ...] = Field(
        default=(0.05,),
        min_length=1,
        description="Shares of the maskable weights that models keep, each in (0, 1]; every one "
        "makes cells of its own. Data sets and methods may state others.",
    )
    models: Models = Field(
        default=8,
        description="Number of models of every cohort, at least 4. More give narrower intervals "
        "and stronger attacks, and cost one training each.",
    )
    attacks: tuple[Request, ...] = Field(
        default=(
            "loss",
            "modified-entropy",
            "neural",
            "gap",
            "lira-online",
            "lira-offline",
            "rmia",
            "learnt-references",
        ),
        min_length=1,
        description="Membership attacks on every target (`safecompress list attacks`), at least "
        "one.",
    )
    reference: str | None = Field(
        default=None,
        description="Name of the method that all others are tested against. Left out, the table "
        "has no tests.",
    )
    seed: int = Field(
        default=0,
        ge=0,
        description="Seed of every random decision; all methods draw the same rows by it.",
    )
    workers: Annotated[int, Field(gt=0)] | None = Field(
        default=None,
        description="How many models are trained at once, each in a process of its own. Left out, "
        "it is one for every core, at most eight, and one on a GPU.",
    )
    backend: Literal["local", "ray"] = Field(
        default="local",
        description="Where models are trained: in processes of this machine (`local`), or on a "
        "Ray cluster whose machines share the folder (`ray`, an extra).",
    )
    keep: bool = Field(
        default=False,
        description="Whether the cohorts, which hold what every model says of every row, stay "
        "beside the table. They take much room; keep them to run further attacks.",
    )
    out: Path | None = Field(
        default=None, description="Folder of the results. Left out, it is `comparisons/NAME`."
    )
    trackers: Trackers = Field(default=(), description=TRACKERS_HELP)

    @model_validator(mode="after")
    def _reference_is_there(self) -> CompareConfig:
        if self.reference is not None and self.reference not in self.methods:
            raise ValueError(
                f"reference is '{self.reference}', which is none of the methods: "
                f"{', '.join(self.methods)}"
            )
        return self
