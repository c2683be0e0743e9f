"""`AuditArguments`: the plain arguments of an audit, checked and in Python's own types.

NumPy's scalars are accepted and turned into Python's, because results are written as JSON.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from safecompress.attacks import ATTACKS
from safecompress.audits.numbers import number, whole
from safecompress.audits.suite import Limits
from safecompress.config import ShadowsConfig
from safecompress.data.classes import ClassList
from safecompress.data.output_kind import OUTPUT_KINDS
from safecompress.errors import ConfigError
from safecompress.events import Listener, silent
from safecompress.protocols import Attack
from safecompress.registry.identity import identity


@dataclass(frozen=True)
class AuditArguments:
    """Arguments of an audit that are neither models nor rows.

    Args:
        level: confidence level of the intervals, in (0, 1).
        seed: seed of every random decision, at least 0.
        limits: the bounds to keep.
        shadows: how many shadow models are trained, and how.
        classes: the classes in the order of the model's columns; None where nothing is stated.
        accuracy: the model's accuracy on rows it was not trained on; None where it is not stated.
    """

    level: float
    seed: int
    limits: Limits
    shadows: ShadowsConfig
    classes: ClassList | None
    accuracy: float | None

    @classmethod
    def checked(
        cls, *, level: Any, seed: Any, limits: Any, shadows: Any, classes: Any, accuracy: Any
    ) -> AuditArguments:
        """Return arguments as users give them, checked.

        Args:
            level: a number in (0, 1).
            seed: a whole number, at least 0.
            limits: `Limits`, or None for the usual ones.
            shadows: `ShadowsConfig`, or the number of shadow models.
            classes: names in the order of the columns, or None.
            accuracy: a number in [0, 1], or None.

        Raises:
            ConfigError: on another type, or a value outside its range.
        """
        share = number(level, "level")
        if not 0 < share < 1:
            raise ConfigError(f"level is {share:g}; expected a number in (0, 1), for example 0.95.")
        right = None if accuracy is None else number(accuracy, "accuracy")
        if right is not None and not 0 <= right <= 1:
            raise ConfigError(
                f"accuracy is {right:g}; expected a share in [0, 1], for example 0.87."
            )
        if limits is not None and not isinstance(limits, Limits):
            raise ConfigError(
                f"limits: got {type(limits).__name__}; expected Limits(max_auc=…, …) of "
                "safecompress, or None for the usual ones."
            )
        if not isinstance(shadows, ShadowsConfig):
            shadows = ShadowsConfig(count=whole(shadows, "shadows"))
        return cls(
            level=share,
            seed=whole(seed, "seed"),
            limits=limits or Limits(),
            shadows=shadows,
            classes=ClassList.given(classes),
            accuracy=right,
        )


def folder_of(out: Any) -> Path | None:
    """Return the folder of the results, or None where nothing is written.

    Args:
        out: a path, or None.

    Raises:
        ConfigError: when it is no path.
    """
    if out is None:
        return None
    try:
        return Path(os.fsdecode(out))
    except TypeError as error:
        raise ConfigError(f"out: got {out!r:.80}; expected the path of a folder.") from error


def name_of(target: Any, folder: Path | None) -> str:
    """Return what an audit is called: its folder, the file that is audited, or its class.

    Args:
        target: a model, recorded outputs or a path.
        folder: folder of the results; None where nothing is written.
    """
    if folder is not None:
        return folder.resolve().name
    if isinstance(target, str | Path):
        return Path(target).name
    return getattr(target, "__name__", type(target).__name__)


def listener(on_event: Any) -> Listener:
    """Return what is called with events; None listens to nothing.

    Args:
        on_event: a callable of one `Event`, or None.

    Raises:
        ConfigError: when it cannot be called.
    """
    if on_event is None:
        return silent
    if not callable(on_event):
        raise ConfigError(f"on_event: got {on_event!r:.80}; expected a callable of one Event.")
    return cast(Listener, on_event)


def attacks_named(requests: Any) -> list[Attack]:
    """Return the attacks that a user asks for, each once.

    Args:
        requests: names, or mappings from a name to options.

    Raises:
        ConfigError: on a single name or another type, and on an attack that is not known.
    """
    if isinstance(requests, str | bytes | Mapping) or not isinstance(requests, Iterable):
        raise ConfigError(
            f"attacks: got {requests!r:.80}; expected a list of names, for example "
            '["augmentation"].'
        )
    built = [ATTACKS.build(request, where="attacks") for request in requests]
    return list({identity(attack): attack for attack in built}.values())


def require_output_kind(outputs: str) -> None:
    """Check what the user says that outputs are.

    Args:
        outputs: the kind.

    Raises:
        ConfigError: naming the known kinds.
    """
    if outputs not in OUTPUT_KINDS:
        raise ConfigError(f"outputs is {outputs!r}; expected one of {', '.join(OUTPUT_KINDS)}.")


def model_or_path(target: Any, name: str) -> Any:
    """Return what is audited, with a path in bytes as text.

    Args:
        target: a model, recorded outputs or a path.
        name: the argument's name in messages.

    Raises:
        ConfigError: on arrays in place of a file of outputs.
    """
    if isinstance(target, bytes):
        return Path(os.fsdecode(target))
    if isinstance(target, Mapping):
        raise ConfigError(
            f"{name}: got a {type(target).__name__} with {', '.join(map(str, target))[:160]}; "
            "recorded outputs are given by the path of their .npz: numpy.savez('outputs.npz', "
            "**arrays), then 'outputs.npz'."
        )
    return target
