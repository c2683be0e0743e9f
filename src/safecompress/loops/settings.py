"""`loop_config`: which settings a loop of a user's own honors; every other one is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safecompress.compression.first_masks import FIRST_MASKS, Pruned
from safecompress.compression.requirements import build_first_mask, build_proposals
from safecompress.config import CompressConfig, DenseConfig, Section, load_config
from safecompress.errors import ConfigError
from safecompress.protocols import FirstMask, Proposal

_TRAINS = "your loop trains, so no setting says how"
_REFUSED: Mapping[tuple[str, ...], str] = {
    ("model",): "the model is the object that your loop trains",
    ("dense",): _TRAINS,
    ("teachers",): "teachers repeat the training, which only your loop knows",
    ("baselines",): "a baseline repeats the training, which only your loop knows",
    ("shadows",): "shadow models repeat the training, which only your loop knows; audit the "
    "finished model with reference models of your own",
    ("sparse", "train"): _TRAINS,
    ("sparse", "settle_epochs"): "one model is trained, and none of several is chosen",
    ("sparse", "patience"): "use the argument patience",
    ("sparse", "gradient_batches"): "scores look at the gradients of your own steps",
    ("sparse", "admm"): _TRAINS,
    ("sparse", "student"): _TRAINS,
    ("steer", "search"): "one model is trained, and none of several is chosen",
    ("steer", "draw"): "one model is trained, and none of several is chosen",
    ("steer", "replay"): "one model is trained, and none of several is chosen",
    ("steer", "population"): "one model is trained, and none of several is chosen",
    ("steer", "defenses"): "a defense changes the training, which is your loop's",
    (
        "trackers",
    ): "your trainer has loggers of its own, which get its figures and those of the tests",
    ("verdict", "canaries"): "canaries are put into the training, which is your loop's",
}


def loop_config(
    given: CompressConfig | Mapping[str, Any] | str | Path, *, trained: bool
) -> CompressConfig:
    """Return the configuration of a run whose training is a loop of the user's own.

    Args:
        given: settings, see `CompressConfig`.
        trained: whether the weights were trained before the loop; the first mask then keeps the
            largest of them, and otherwise is drawn at random.

    Raises:
        ConfigError: on a setting that such a run does not honor, naming it and why.
    """
    config = load_config(given)
    for path, why in _REFUSED.items():
        if _is_set(config, path):
            raise ConfigError(f"{'.'.join(path)}: a loop of your own does not use it: {why}.")
    steer: dict[str, Any] = {}
    if "proposals" not in config.steer.model_fields_set:
        steer["proposals"] = ("rigl",)
    if "attacks" not in config.steer.model_fields_set:
        # These take milliseconds, so that they can run between the epochs of a loop.
        steer["attacks"] = ("loss", "modified-entropy")
    sparse: dict[str, Any] = {"train": config.sparse.train.model_copy(update={"epochs": 0.0})}
    if "initialize" not in config.sparse.model_fields_set:
        sparse["initialize"] = "magnitude-global" if trained else "scratch"
    resolved = config.model_copy(
        update={
            "dense": DenseConfig(epochs=0),
            "baselines": (),
            "sparse": config.sparse.model_copy(update=sparse),
            "steer": config.steer.model_copy(update=steer),
        }
    )
    first = gradual_of(resolved)
    if first is not None and resolved.sparse.rounds and "rounds" in config.sparse.model_fields_set:
        raise ConfigError(
            "sparse.rounds: gradual pruning cuts the mask by sparse.gradual.cuts, and nothing else "
            "changes it; set sparse.rounds: 0 or leave it out."
        )
    if first is not None:
        no_rounds = resolved.sparse.model_copy(update={"rounds": 0})
        return resolved.model_copy(update={"sparse": no_rounds})
    _check_first_mask(resolved)
    proposal_of(resolved)
    return resolved


def gradual_of(config: CompressConfig) -> Pruned | None:
    """Return the first mask where it is gradual pruning, which a loop does as it trains.

    Args:
        config: the run's configuration.
    """
    mask = build_first_mask(config)
    return mask if isinstance(mask, Pruned) and mask.pruner == "gradual" else None


def proposal_of(config: CompressConfig) -> Proposal | None:
    """Return what changes the mask at every update; None without updates.

    Args:
        config: the run's configuration.

    Raises:
        ConfigError: when it is not one change of the mask by weights and gradients alone.
    """
    if not config.sparse.rounds:
        return None
    proposals = build_proposals(config)
    if len(proposals) != 1:
        raise ConfigError(
            f"steer.proposals: {len(proposals)} are listed, and a loop of your own follows one "
            "path; name one, such as [rigl], or set sparse.rounds: 0."
        )
    proposal = proposals[0]
    if missing := sorted(proposal.requires - {"gradient"}):
        raise ConfigError(
            f"steer.proposals: '{proposal.name}' needs {', '.join(missing)}, which a loop of your "
            "own does not have; take a change of the mask, such as rigl or set."
        )
    if proposal.updates != 1:
        raise ConfigError(
            f"steer.proposals: '{proposal.name}' updates the mask {proposal.updates} times a "
            "round; set sparse.rounds to the number of updates instead."
        )
    return proposal


def _check_first_mask(config: CompressConfig) -> None:
    if _without_training(build_first_mask(config), config):
        return
    fit = [n for n, part in FIRST_MASKS.parts.items() if _without_training(part.factory(), config)]
    raise ConfigError(
        f"sparse.initialize is {config.sparse.initialize!r}, which trains models before your loop "
        f"does; use one that does not: {', '.join(fit)}, gradual-global or gradual-layer."
    )


def _without_training(mask: FirstMask, config: CompressConfig) -> bool:
    taught = mask.needs_teachers or mask.needs_soft_labels
    return not taught and mask.training(config.sparse) is None


def _is_set(config: CompressConfig, path: tuple[str, ...]) -> bool:
    """Return whether a setting was given, with another value than the one that asks for nothing."""
    section: Any = config
    for name in path[:-1]:
        section = getattr(section, name)
    if path[-1] not in section.model_fields_set:
        return False
    value = getattr(section, path[-1])
    default = type(section).model_fields[path[-1]].get_default(call_default_factory=True)
    if path[-1] == "baselines":
        return bool(value)
    if isinstance(value, Section) and isinstance(default, Section):
        return value.model_dump() != default.model_dump()
    return bool(value != default)
