"""`chosen_setting`, `teacher_model`: the run's choice of how its teachers train, and its record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.compression.model_source import source_module, untrained_weights
from safecompress.compression.teacher_settings import TeacherSetting, Trial, can_widen, choose
from safecompress.config import CompressConfig, ModelConfig
from safecompress.data import Splits
from safecompress.errors import ConfigError, DataError, RunFolderError
from safecompress.files import read_json, write_json
from safecompress.models import check_model
from safecompress.protocols import Rows
from safecompress.protocols.rows import tensors_of

RECORD = "choice.json"
"""Name of the file, in the folder of the teachers, that holds every trial of the choice."""


def chosen_setting(
    path: Path, attempt: Callable[[TeacherSetting], Trial], config: CompressConfig, splits: Splits
) -> TeacherSetting:
    """Return how the run's teachers train, after trying what the configuration lists.

    Every trial is recorded when it has ended, so an interrupted choice goes on after the last.

    Args:
        path: the record, which need not exist.
        attempt: trains a teacher by a setting and keeps its outputs if it is the best so far.
        config: the run's configuration.
        splits: the run's rows.

    Raises:
        NonFiniteError: when the training diverges with every setting.
        RunFolderError: when the record is damaged.
    """
    choice = config.teachers.choose
    if choice is None:
        return TeacherSetting.of(config.teachers)
    known = _recorded(path)

    def once(setting: TeacherSetting) -> Trial:
        for trial in known:
            if trial.setting == setting:
                return trial
        known.append(attempt(setting))
        write_json(path, {"tried": [trial.to_json() for trial in known]})
        return known[-1]

    return choose(choice, once, fixed=fixed_parts(config, splits))[0].setting


def fixed_parts(config: CompressConfig, splits: Splits) -> tuple[str, ...]:
    """Return the parts of the teachers' setting that are not tried in this run.

    Args:
        config: the run's configuration.
        splits: the run's rows.

    Returns:
        `width` where the model cannot be widened; `noise` where all inputs are whole numbers above
        1, because they may be numbers of words, or are token ids, which bear none.
    """
    width = () if can_widen(config.model) else ("width",)
    noise = ("noise",) if _whole_numbers(splits.members) else ()
    return (*width, *noise)


def _whole_numbers(rows: Rows) -> bool:
    """Return whether all inputs are whole numbers and some are beyond 0 and 1."""
    tensors = [t for t in tensors_of(rows.inputs) if t.is_floating_point()]
    if not tensors:
        return True
    whole = all(bool((t == t.round()).all()) for t in tensors)
    return whole and any(bool(((t != 0) & (t != 1)).any()) for t in tensors)


def teacher_model(
    config: CompressConfig, splits: Splits, setting: TeacherSetting
) -> tuple[nn.Module, Callable[[int], Mapping[str, Tensor]]] | None:
    """Return the teachers' module and what draws its untrained weights; None for the run's own.

    Args:
        config: the run's configuration.
        splits: the run's rows.
        setting: how the teachers train.

    Raises:
        ConfigError: when the setting changes a model that the configuration does not name, or
            names an option that the model refuses.
    """
    if setting.width == 1.0 and not setting.options:
        return None
    if config.model is None:
        raise ConfigError(
            "teachers.choose.options: the model was given as an object, so its options cannot be "
            "changed; name it in the section model, or leave them out."
        )
    model: ModelConfig = setting.model(config.model)
    anew = config.model_copy(update={"model": model})
    module, _ = source_module(anew, None, splits)
    return module, partial(untrained_weights, anew, None, splits, module)


def check_choice(config: CompressConfig, splits: Splits) -> None:
    """Build every model that a choice may try, so that a bad option is found before training.

    Args:
        config: the run's configuration.
        splits: the run's rows.

    Raises:
        ConfigError: on an option that the model refuses.
        ModelError: on a model that does not fit the rows.
    """
    choice = config.teachers.choose
    if choice is None:
        return
    widths = () if "width" in fixed_parts(config, splits) else choice.widths
    settings = [TeacherSetting(width=width) for width in widths]
    settings += [TeacherSetting(options=options) for options in choice.options]
    for setting in settings:
        made = teacher_model(config, splits, setting)
        if made is not None:
            check_model(made[0], splits.members, splits.classes)


def choice_record(path: Path) -> dict[str, Any] | None:
    """Return what was tried for the run's provenance; None where nothing was.

    Args:
        path: the record.

    Returns:
        `chosen`, the kept setting in words, its `accuracy`, the `steps` of all trials together,
        and `tried`: per setting in words its accuracy; None where its training diverged.
    """
    tried = _recorded(path)
    if not tried:
        return None
    best = max(tried, key=lambda t: -1.0 if t.accuracy is None else t.accuracy)
    return {
        "chosen": best.setting.words(),
        "accuracy": best.accuracy,
        "steps": sum(trial.steps for trial in tried),
        "tried": {trial.setting.words(): trial.accuracy for trial in tried},
    }


def best_accuracy(path: Path) -> float:
    """Return the highest accuracy on record; -1 before the first trial.

    Args:
        path: the record.
    """
    return max((t.accuracy for t in _recorded(path) if t.accuracy is not None), default=-1.0)


def _recorded(path: Path) -> list[Trial]:
    if not path.exists():
        return []
    try:
        return [Trial.from_json(stored) for stored in read_json(path)["tried"]]
    except (DataError, KeyError, TypeError) as error:
        raise RunFolderError(
            f"{path}: damaged ({error}); delete it, and the choice is made again."
        ) from error


def members_of(unseen: Tensor, members: Rows) -> tuple[Rows, Rows]:
    """Return the members that a teacher is trained on, and those that it never sees.

    Args:
        unseen: bool (members,), True for those it never sees.
        members: all members.
    """
    seen, held = (torch.nonzero(mask).squeeze(1) for mask in (~unseen, unseen))
    return members.take(seen), members.take(held)
