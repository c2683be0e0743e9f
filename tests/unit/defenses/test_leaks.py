"""What a small cohort of a defense's own recipe leaks to each kind of attack."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from safecompress.attacks import ATTACKS
from safecompress.defenses import contract
from safecompress.defenses import leaks as module
from safecompress.defenses.imagined import EPOCHS
from safecompress.defenses.leaks import ATTACKERS, PAIRS, FamilyLeak, RecipeLeak, leaks
from safecompress.protocols import SIGNALS, Defense
from safecompress.registry.contract import other_global_generators
from tests.defended import built
from tests.support import count


class Nothing(Defense):
    """Take the loss away again, so that nothing is learned."""

    name = "nothing"

    def penalty(self, batch):
        return -cross_entropy(batch.logits, batch.labels)


def remarked(defense, monkeypatch):
    """Return what a defense leaks, and what its contract remarks of just that."""
    found = []

    def listened(defense, *, seed):
        found.append(leaks(defense, seed=seed))
        return found[-1]

    monkeypatch.setattr(contract, "leaks", listened)
    remarks = contract.remarks(defense)
    (leak,) = found
    return leak, remarks


def test_networks_that_learn_nothing_leak_nothing_to_anybody(monkeypatch):
    found, remarks = remarked(Nothing(), monkeypatch)
    # A mean of ten AUCs of a hundred rows each deviates by about .013.
    assert [leak.auc for leak in found.families] == [pytest.approx(0.5, abs=0.05)] * 4
    assert remarks == ()


def test_the_same_seed_gives_the_same_figures_and_another_seed_gives_others():
    defense = {"entropy": {"weight": 1.0}}
    size = {"pairs": count(3, PAIRS), "epochs": count(10, EPOCHS)}
    first = leaks(built(defense), seed=3, **size)
    with other_global_generators():
        again = leaks(built(defense), seed=3, **size)
    other = leaks(built(defense), seed=4, **size)
    for one, same, different in zip(first.families, again.families, other.families, strict=True):
        assert torch.equal(one.aucs, same.aucs)
        assert not torch.equal(one.aucs, different.aucs)


def test_a_kind_of_attack_that_a_defense_hides_from_is_named_and_the_strongest_too(monkeypatch):
    hiding = built({"hamp": {"entropy": 0.8, "weight": 0.1}})
    found, (remark,) = remarked(hiding, monkeypatch)
    first = found.families[0]
    assert f"leak {first.auc:.2f} to attacks that read '{first.signals}'" in remark
    assert first.auc > 0.85
    assert "by 'vector'" in remark


def test_no_kind_is_blind_to_what_nobody_finds():
    assert made(comparison=(0.53, 0.04), label=(0.47, 0.0)).blind == ()
    assert made(comparison=(0.54, 0.04), label=(0.47, 0.0)).blind != ()


def test_every_kind_that_reads_answers_and_rows_alone_attacks():
    reachable = {
        part.factory.signals
        for part in ATTACKS.parts.values()
        if part.factory.requires <= {"rows", "references"}
    }
    own = {ATTACKS.build(name, where="test").signals for name in ATTACKERS}
    assert own == reachable <= set(SIGNALS)


@pytest.mark.parametrize("target", range(2 * PAIRS))
def test_as_many_references_saw_every_row_as_did_not(target):
    seen = module._dealt(1, PAIRS)
    others = torch.stack([seen[k] for k in range(2 * PAIRS) if k // 2 != target // 2])
    assert set(others.sum(dim=0).tolist()) == {PAIRS - 1}


def made(**aucs: tuple[float, float]) -> RecipeLeak:
    """Return imagined figures of ten networks, each kind with a mean and a deviation."""
    spread = torch.linspace(-1, 1, 10, dtype=torch.float64)
    spread = spread / spread.std()
    families = [
        FamilyLeak(name, f"an attack on {name}", mean + deviation * spread * (-1) ** k)
        for k, (name, (mean, deviation)) in enumerate(aucs.items())
    ]
    return RecipeLeak("imagined", tuple(families))


@pytest.mark.parametrize(
    ("mean", "deviation", "blind"),
    [(0.671, 0.0, False), (0.669, 0.0, True), (0.66, 0.04, True), (0.66, 0.08, False)],
)
def test_a_kind_is_blind_by_more_than_three_hundredths_and_more_than_the_noise(
    mean, deviation, blind
):
    # Paired over ten networks, two errors of the difference are 2 × deviation / √10.
    found = made(comparison=(0.7, 0.0), label=(mean, deviation))
    assert [leak.signals for leak in found.blind] == (["label"] if blind else [])
    assert bool(found.remark) is blind
