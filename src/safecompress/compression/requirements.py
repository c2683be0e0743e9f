"""`build_first_mask`, `build_proposals`, `needs_…`: a configuration's parts and what they need."""

from __future__ import annotations

from safecompress.candidate import UNCHANGED
from safecompress.compression.first_masks import FIRST_MASKS
from safecompress.config import CompressConfig
from safecompress.defenses import DEFENSES
from safecompress.errors import ConfigError
from safecompress.proposals import PROPOSALS
from safecompress.protocols import FirstMask, Proposal


def build_first_mask(config: CompressConfig) -> FirstMask:
    """Build the configured first mask.

    Args:
        config: the run's configuration.

    Raises:
        ConfigError: on an unknown first mask, or options that it refuses.
    """
    return FIRST_MASKS.build(config.sparse.initialize, where="sparse.initialize")


def build_proposals(config: CompressConfig) -> tuple[Proposal, ...]:
    """Build the configured proposals with the sparse section's defaults filled in.

    Args:
        config: the run's configuration.

    Returns:
        All listed proposals, or those that `steer.replay` names.

    Raises:
        ConfigError: on a proposal that cannot be built, two proposals of one name, or a replay of a
            proposal that is not listed.
    """
    built: dict[str, Proposal] = {}
    for index, request in enumerate(config.steer.proposals):
        where = f"steer.proposals[{index}]"
        proposal = PROPOSALS.build(request, where=where).with_defaults(config.sparse)
        if proposal.name == UNCHANGED:
            raise ConfigError(f"{where}: '{UNCHANGED}' stands for no proposal; name it otherwise.")
        if proposal.name in built:
            raise ConfigError(
                f"{where}: '{proposal.name}' is there already; remove it, or give it another "
                "fraction."
            )
        built[proposal.name] = proposal
    replay = config.steer.replay
    for name in replay or ():
        if name != UNCHANGED and name not in built:
            raise ConfigError(
                f"steer.replay: '{name}' is no proposal; steer.proposals has {', '.join(built)}."
            )
    return tuple(p for name, p in built.items() if replay is None or name in replay)


def needs_teachers(config: CompressConfig) -> bool:
    """Return whether the run trains teachers: for a student, soft labels, a first mask, a defense.

    Args:
        config: the run's configuration.
    """
    labels = build_first_mask(config).needs_soft_labels or _required(config, "soft_labels")
    defended = any(
        DEFENSES.build(request, where=f"steer.defenses[{i}]").needs_soft_labels
        for i, request in enumerate(config.steer.defenses)
    )
    return labels or defended or needs_student(config)


def needs_judges(config: CompressConfig) -> bool:
    """Return whether the run trains judges, models that label nothing and judge candidates.

    Args:
        config: the run's configuration.
    """
    return config.teachers.judges > 0 and config.sparse.rounds > 0


def has_references(config: CompressConfig) -> bool:
    """Return whether the loop has models to compare candidates with: judges, or else teachers.

    Args:
        config: the run's configuration.
    """
    return needs_judges(config) or needs_teachers(config)


def needs_student(config: CompressConfig) -> bool:
    """Return whether the first mask or a proposal uses a dense student.

    Args:
        config: the run's configuration.
    """
    return build_first_mask(config).needs_teachers or _required(config, "student")


def _required(config: CompressConfig, what: str) -> bool:
    """Return whether a proposal requires something, and there are rounds in which it is applied."""
    return config.sparse.rounds > 0 and any(what in p.requires for p in build_proposals(config))


def needs_channels(config: CompressConfig) -> bool:
    """Return whether a proposal removes channels, and there are rounds in which it is applied.

    Args:
        config: the run's configuration.
    """
    return _required(config, "channels")
