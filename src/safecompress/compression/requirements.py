"""The first mask and the proposals of a configuration, and what a run must have for them."""

from __future__ import annotations

from safecompress.candidate import UNCHANGED
from safecompress.compression.first_masks import FIRST_MASKS
from safecompress.config import CompressConfig
from safecompress.errors import ConfigError
from safecompress.proposals import PROPOSALS
from safecompress.protocols import FirstMask, Proposal


def build_first_mask(config: CompressConfig) -> FirstMask:
    """Build the configured first mask.

    Raises:
        ConfigError: on an unknown one, or options that it refuses.
    """
    return FIRST_MASKS.build(config.sparse.initialize, where="sparse.initialize")


def build_proposals(config: CompressConfig) -> tuple[Proposal, ...]:
    """Build the configured proposals with the sparse section's defaults filled in.

    Returns:
        All of them, or those that a replay names.

    Raises:
        ConfigError: on a part that cannot be built, two that are the same, or a replay of others.
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
    """Return whether anybody learns from soft labels."""
    return needs_student(config) or _asked(config, "soft_labels")


def needs_student(config: CompressConfig) -> bool:
    """Return whether the search begins with a dense student, or a proposal may."""
    return build_first_mask(config).needs_teachers or _asked(config, "student")


def _asked(config: CompressConfig, what: str) -> bool:
    """Return whether a proposal requires something, and there are rounds in which it may."""
    return config.sparse.rounds > 0 and any(what in p.requires for p in build_proposals(config))


def needs_channels(config: CompressConfig) -> bool:
    """Return whether a proposal removes channels, and there are rounds in which it may."""
    return _asked(config, "channels")
