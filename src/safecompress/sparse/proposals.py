"""The named ways to change a candidate's mask, from which a configuration chooses."""

from __future__ import annotations

from dataclasses import dataclass

from safecompress.candidate import Candidate
from safecompress.config import Request
from safecompress.protocols import Proposal, ProposalContext
from safecompress.registry import Registry
from safecompress.sparse.drop import DROP_RULES
from safecompress.sparse.grow import GROW_RULES
from safecompress.sparse.schedules import Schedule
from safecompress.sparse.strategy import Strategy


@dataclass(frozen=True)
class Keep(Proposal):
    """Change nothing: the candidate that says whether any change was worth it."""

    @property
    def name(self) -> str:
        """`keep`."""
        return "keep"

    def __call__(self, parent: Candidate, context: ProposalContext) -> Candidate:
        """Return the parent with `keep` added to its lineage."""
        del context
        return parent.evolve(lineage=(*parent.lineage, self.name))


def update(
    *,
    drop: Request,
    grow: Request,
    fraction: float | None = None,
    fraction_end: float | None = None,
    schedule: Schedule | None = None,
    updates: int = 1,
) -> Strategy:
    """Return the strategy of any drop rule and any grow rule.

    Args:
        drop: name of a drop rule, or one name with its options.
        grow: name of a grow rule, or one name with its options.
        fraction: share of a layer's weights exchanged at the first update, in (0, 1).
        fraction_end: the share at the last update, in [0, 1).
        schedule: `cosine`, `linear` or `constant`.
        updates: how often it is applied while a candidate settles.

    Raises:
        ConfigError: on an unknown rule or schedule, or a share outside its range.

    >>> update(drop="magnitude", grow="random-unfired", fraction=0.1).name
    'magnitude+random-unfired f=0.1'
    """
    return Strategy(
        drop=DROP_RULES.build(drop, where="drop"),
        grow=GROW_RULES.build(grow, where="grow"),
        fraction=fraction,
        fraction_end=fraction_end,
        schedule=schedule,
        updates=updates,
    )


def set_(
    *,
    fraction: float | None = None,
    fraction_end: float | None = None,
    schedule: Schedule | None = None,
    updates: int = 1,
) -> Strategy:
    """Return SET: drop the weights of each sign nearest to zero, grow at random.

    Reference: Mocanu et al., Nature Communications 2018.
    """
    return update(
        drop="set",
        grow="random",
        fraction=fraction,
        fraction_end=fraction_end,
        schedule=schedule,
        updates=updates,
    )


def rigl(
    *,
    fraction: float | None = None,
    fraction_end: float | None = None,
    schedule: Schedule | None = None,
    updates: int = 1,
) -> Strategy:
    """Return RigL: drop the smallest weights, grow where the dense gradient is largest.

    Reference: Evci et al., "Rigging the Lottery", ICML 2020.
    """
    return update(
        drop="magnitude",
        grow="gradient",
        fraction=fraction,
        fraction_end=fraction_end,
        schedule=schedule,
        updates=updates,
    )


PROPOSALS: Registry[Proposal] = Registry("proposal", "safecompress.proposals")
PROPOSALS.add(
    "set",
    set_,
    summary="SET: drops the weights of each sign nearest to zero, grows at random",
    reference="Mocanu et al., Nature Communications 2018",
    cost="no data",
)
PROPOSALS.add(
    "rigl",
    rigl,
    summary="RigL: drops the smallest weights, grows where the dense gradient is largest",
    reference="Evci et al., ICML 2020",
    cost="a dense gradient per round",
)
PROPOSALS.add(
    "update",
    update,
    summary="any drop rule with any grow rule, e.g. {drop: taylor, grow: momentum}",
    reference="the rules' own",
    cost="the rules' own",
)
PROPOSALS.add(
    "keep",
    Keep,
    summary="changes nothing: the control for the others",
    reference="static sparse training",
    cost="none",
)
