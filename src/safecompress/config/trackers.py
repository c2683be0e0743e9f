"""`TrackerRequest` and the options of trackers: where curves and verdicts are written, too."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from safecompress.config.section import Section

TrackerName: TypeAlias = Literal["csv", "tensorboard", "mlflow", "wandb"]
TRACKER_NAMES: tuple[TrackerName, ...] = ("csv", "tensorboard", "mlflow", "wandb")


_LOGIN = re.compile(r"(?<=://)[^/@\s]+@")


def without_login(text: str) -> str:
    """Return a text without the names and passwords in its addresses.

    Args:
        text: any text.

    >>> without_login("https://me:word@host/api")
    'https://***@host/api'
    """
    return _LOGIN.sub("***@", text)


def _without_password(uri: str) -> str:
    # A configuration is stored in the run folder and written into the tracker itself.
    if without_login(uri) != uri:
        raise ValueError(
            "the address holds a name or a password, which would be stored with the run; set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment instead"
        )
    return uri


class FolderOptions(Section):
    """Options of a tracker that writes files into a folder."""

    folder: Path | None = Field(
        default=None,
        description="Folder of the files. Left out, it is `logs/NAME` in the folder of the run or "
        "of the results.",
    )


class MlflowOptions(Section):
    """Options of MLflow."""

    uri: Annotated[str, AfterValidator(_without_password)] | None = Field(
        default=None,
        description="Address of the store: that of a server, or a local `sqlite:///FILE`. Left "
        "out, it is MLFLOW_TRACKING_URI of the environment, or else `sqlite:///mlflow.db`.",
    )
    experiment: str = Field(
        default="safecompress", description="Name of the experiment; it is made where it is new."
    )


class WandbOptions(Section):
    """Options of Weights & Biases."""

    mode: Literal["offline", "online"] = Field(
        default="offline",
        description="Where runs go: `offline` writes files alone, which `wandb sync` sends later; "
        "`online` sends everything at once to the server.",
    )
    project: str = Field(default="safecompress", description="Name of the project.")
    entity: str | None = Field(
        default=None, description="User or team that owns it. Left out, it is your own."
    )
    folder: Path | None = Field(
        default=None,
        description="Folder in which `wandb/` is made. Left out, it is WANDB_DIR of the "
        "environment, or else the current one.",
    )


class TrackerOptions(Section):
    """One tracker with options of its own."""

    csv: FolderOptions | None = Field(
        default=None,
        description="A table of all figures, in files of "
        "comma-separated values. Left out, another tracker is meant.",
    )
    tensorboard: FolderOptions | None = Field(
        default=None,
        description="Event files of TensorBoard. Left out, another tracker is meant.",
    )
    mlflow: MlflowOptions | None = Field(
        default=None,
        description="Runs of MLflow, in its store. Left out, another tracker is meant.",
    )
    wandb: WandbOptions | None = Field(
        default=None,
        description="Runs of Weights & Biases. Left out, another tracker is meant.",
    )

    @model_validator(mode="after")
    def _is_of_one_tracker(self) -> TrackerOptions:
        if sum(getattr(self, name) is not None for name in TRACKER_NAMES) != 1:
            raise ValueError(
                "expected one tracker with its options, such as {mlflow: {experiment: NAME}}"
            )
        return self

    @model_serializer(mode="wrap")
    def _stored(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Return it as it was given, without the other trackers."""
        return {name: options for name, options in handler(self).items() if options is not None}

    @property
    def name(self) -> TrackerName:
        """The tracker's name."""
        return next(name for name in TRACKER_NAMES if getattr(self, name) is not None)

    @property
    def options(self) -> Section:
        """The tracker's options."""
        options: Section = getattr(self, self.name)
        return options


TrackerRequest: TypeAlias = TrackerName | TrackerOptions
"""How a configuration names a tracker: `name` or `{name: {option: value}}`."""


def _each_once(requests: tuple[TrackerRequest, ...]) -> tuple[TrackerRequest, ...]:
    names = [named(request).name for request in requests]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(f"{twice[0]} is listed twice; keep one")
    return requests


def _form(request: Any) -> str:
    return "name" if isinstance(request, str) else "options"


# Told apart by their form, so that an error is about the form that was meant.
_Request = Annotated[
    Annotated[TrackerName, Tag("name")] | Annotated[TrackerOptions, Tag("options")],
    Discriminator(_form),
]
Trackers = Annotated[tuple[_Request, ...], AfterValidator(_each_once)]
TRACKERS_HELP = (
    "Experiment trackers that curves, candidates, final figures, the verdict and its reports are "
    "written to as well: `csv`, or the extras `tensorboard`, `mlflow` and `wandb`; with options as "
    "in `{mlflow: {experiment: NAME}}`. Empty writes to none."
)


class TrackersConfig(Section):
    """The trackers of a job."""

    trackers: Trackers = Field(default=(), description=TRACKERS_HELP)


def named(request: TrackerRequest) -> TrackerOptions:
    """Return a tracker with its options, all of them defaults where only its name was given.

    Args:
        request: an entry of `trackers`.
    """
    if isinstance(request, TrackerOptions):
        return request
    return TrackerOptions.model_validate({request: {}})


GivenTrackers: TypeAlias = Sequence[TrackerRequest | str | Mapping[str, Any]]
"""Trackers as an argument in Python gives them."""
