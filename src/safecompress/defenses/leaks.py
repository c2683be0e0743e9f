"""`leaks`: what each kind of attack finds in a small cohort that a defense trained.

A defense can hide members from one kind of attack and show them to another. So a cohort of small
networks is trained with it, each on a draw of its own, and each is attacked with the others, of the
same recipe, as its references.

>>> from safecompress.defenses import DEFENSES
>>> found = leaks(DEFENSES.build({"label-smoothing": {"share": 0.5}}, where="example"))
>>> sorted(leak.signals for leak in found.families)
['comparison', 'label', 'neighbors', 'vector']
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softmax

from safecompress.attacks import ATTACKS
from safecompress.defenses.imagined import EPOCHS, MEMBERS, network, toy, trainer
from safecompress.protocols import Attack, Defense, Evidence, Outputs, Pool, References, Rows
from safecompress.randomness import derive, permutation
from safecompress.stats import auc

PAIRS = 5
"""Pairs of networks. Of each pair one trains on a row and the other does not."""
MOST = 0.03
"""AUC by which a kind of attack may stay below the strongest before it counts as blind."""
ATTACKERS = (
    *("loss", "lira-online", "lira-offline", "rmia"),
    *("entropy", "indirect", "learnt-references"),
)


@dataclass(frozen=True)
class FamilyLeak:
    """What the strongest attack of one kind finds.

    Args:
        signals: the kind, one of `SIGNALS`.
        attack: the attack of the kind with the largest mean AUC.
        aucs: its AUC on each network, float64 (models,), in [0, 1].
    """

    signals: str
    attack: str
    aucs: Tensor

    @property
    def auc(self) -> float:
        """The mean over the networks."""
        return float(self.aucs.mean())


@dataclass(frozen=True)
class RecipeLeak:
    """What each kind of attack finds in a cohort of one recipe.

    Args:
        defense: name of the defense.
        families: the kinds, the one that finds most first.
    """

    defense: str
    families: tuple[FamilyLeak, ...]

    @property
    def blind(self) -> tuple[FamilyLeak, ...]:
        """The kinds that find clearly less than the strongest: by more than .03, and the noise.

        There are none where the strongest does not clearly find more than a guess does.
        """
        first = self.families[0]
        if first.auc - 0.5 <= 3 * _error(first.aucs):
            return ()
        return tuple(leak for leak in self.families if self._behind(leak))

    def _behind(self, leak: FamilyLeak) -> bool:
        less = self.families[0].aucs - leak.aucs
        return float(less.mean()) > max(MOST, 2 * _error(less))

    @property
    def remark(self) -> str:
        """Say to which kinds of attack the recipe looks safer than it is; empty if to none."""
        if not self.blind:
            return ""
        first = self.families[0]
        others = ", ".join(f"{leak.auc:.2f} by '{leak.signals}'" for leak in self.blind)
        return (
            f"networks trained with {self.defense} leak {first.auc:.2f} to attacks that read "
            f"'{first.signals}' ({first.attack}); judged {others}, they look safer than they are"
        )


def _error(values: Tensor) -> float:
    """Return the standard error of a mean over networks."""
    return float(values.std()) / math.sqrt(len(values))


def leaks(
    defense: Defense,
    *,
    seed: int = 0,
    pairs: int = PAIRS,
    judged: int | None = None,
    epochs: int = EPOCHS,
) -> RecipeLeak:
    """Return what attacks of each kind find in small networks that were trained with a defense.

    The figures are of a toy and no forecast for other data; they show where to look. It takes
    seconds, and the same seed gives the same figures.

    Args:
        defense: a defense that was not used yet. It is copied for each training.
        seed: seed of the rows, the draws and the trainings.
        pairs: pairs of networks, at least 3, so that every attack has references enough.
        judged: how many of the networks are attacked, the first ones; None for all.
        epochs: epochs that each network is trained for, at least 1.

    Raises:
        NonFiniteError: when a network that it trained answers NaN or infinity.
    """
    rows = toy(seed)["fresh"].take(torch.arange(2 * MEMBERS))
    seen = _dealt(seed, pairs)
    plain: list[nn.Module] = []
    if defense.needs_dense or defense.needs_soft_labels:
        plain = [
            _trained(None, rows.take(saw), seed=derive(seed, "plain", k), epochs=epochs)
            for k, saw in enumerate(seen)
        ]
    answers = [softmax(_answer(model, rows), dim=1) for model in plain]
    said = []
    for number, saw in enumerate(seen):
        labels = _unseen_mean(answers, seen)[saw] if defense.needs_soft_labels else None
        dense = copy.deepcopy(plain[number]) if defense.needs_dense else None
        model = _trained(
            defense,
            rows.take(saw),
            seed=derive(seed, "defended", number),
            epochs=epochs,
            dense=dense,
            soft_labels=labels,
        )
        said.append(_answer(model, rows))
    families = _families(torch.stack(said), rows, seen, judged=judged or len(said), seed=seed)
    return RecipeLeak(defense.name, families)


def _dealt(seed: int, count: int) -> Tensor:
    """Return which rows each network trains on, bool (2 count, 2 MEMBERS).

    Of each pair of networks one sees a row. So among the networks of other pairs as many saw every
    row as did not, and nothing tells which rows a network saw but its answers.
    """
    pairs = []
    for number in range(count):
        first = torch.zeros(2 * MEMBERS, dtype=torch.bool)
        first[permutation(2 * MEMBERS, seed, "leaks", number)[:MEMBERS]] = True
        pairs += [first, ~first]
    return torch.stack(pairs)


def _trained(
    defense: Defense | None,
    members: Rows,
    *,
    seed: int,
    epochs: int,
    dense: nn.Module | None = None,
    soft_labels: Tensor | None = None,
) -> nn.Module:
    """Return a network trained on some rows, in evaluation mode."""
    defenses = [] if defense is None else [copy.deepcopy(defense)]
    training = trainer(
        seed, defenses, dense=dense, soft_labels=soft_labels, members=members, epochs=epochs
    )
    model = network(seed)
    model.load_state_dict(dict(training.train(training.start(), training.total_steps).weights))
    return model.eval()


@torch.no_grad()
def _answer(model: nn.Module, rows: Rows) -> Tensor:
    said: Tensor = model(rows.inputs)
    return said


def _unseen_mean(answers: list[Tensor], seen: Tensor) -> Tensor:
    """Return the mean answer of networks that did not see a row, (n, classes); else of all."""
    unseen = (~seen).float()
    unseen[:, unseen.sum(dim=0) == 0] = 1.0
    stacked = torch.stack(answers)
    return (unseen.unsqueeze(2) * stacked).sum(dim=0) / unseen.sum(dim=0).unsqueeze(1)


def _families(
    said: Tensor, rows: Rows, seen: Tensor, *, judged: int, seed: int
) -> tuple[FamilyLeak, ...]:
    everyone = References.of(said, rows.labels, seen)
    strongest: dict[str, FamilyLeak] = {}
    for name in ATTACKERS:
        attack = ATTACKS.build(name, where="leaks")
        aucs = [
            _auc(attack, number, said[number], rows, everyone, seed=seed)
            for number in range(judged)
        ]
        found = FamilyLeak(attack.signals, name, torch.tensor(aucs, dtype=torch.float64))
        known = strongest.get(attack.signals)
        if known is None or known.auc < found.auc:
            strongest[attack.signals] = found
    return tuple(sorted(strongest.values(), key=lambda leak: -leak.auc))


def _auc(
    attack: Attack, number: int, said: Tensor, rows: Rows, everyone: References, *, seed: int
) -> float:
    apart = [k for k in range(len(everyone.seen)) if k // 2 != number // 2]
    others = everyone.of_models(torch.tensor(apart))
    evidence = Evidence(Outputs(said, rows.labels, rows.ids), rows=rows, references=others)
    saw = everyone.seen[number]
    pool = Pool(evidence.take(saw), evidence.take(~saw))
    halves = pool.map(lambda e: permutation(len(e.outputs), seed, "halves", number) % 2 == 0)
    result = attack(pool, halves=halves, seed=derive(seed, attack.name, number))
    return auc(result.scores.members, result.scores.nonmembers)
