"""Laws of files that are published together: nulls, hidden leaks, and what no attack may read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from safecompress import audit_jointly
from safecompress.attacks import ATTACKS
from safecompress.audits.suite import Limits
from safecompress.checks import Status
from safecompress.protocols import Evidence, Outputs, Pool, References
from safecompress.stats import auc, auc_difference
from safecompress.verdicts.joint_finding import JointFinding
from tests.joint_sets import judged, recorded, said_of, saved
from tests.laws.test_null_audits import at_most_this_often
from tests.support import calibrating, count

HIDING = ((0.4, 0.0), (0.4, 0.0, 0.0), (0.4, 0.0, 0.4, 0.0))
"""By file, how much the label's logit of a member is raised; some files do not raise it."""


def null(seed: int, *, rows: int = 500, files: int = 3) -> JointFinding:
    draw = np.random.default_rng([11, seed])
    signs = (1.0, -1.0, 0.0, 0.5)[:files]
    files_ = recorded(said_of(draw, rows, signs=signs))
    return judged(files_, seed=seed, limits=Limits(max_auc=0.5))


def test_a_set_at_the_truth_fails_at_its_level() -> None:
    """At the strictest limit that a null keeps one draw in 20 may fail, whatever the files."""
    found = [null(seed, files=2 + seed % 3) for seed in range(count(8, 300))]
    at_most_this_often([f.status is Status.FAIL for f in found], 0.05)


def test_attacks_on_several_files_guess_where_nothing_leaks() -> None:
    trials = count(10, 300)
    values = {"pair": [], "joint": []}
    for seed in range(trials):
        found = null(seed, rows=250)
        for scope in found.scopes:
            for attack in scope.attacks if not scope.alone else ():
                values[attack.name].append(
                    found.figures_of[scope.name].attacks[f"{attack.name}.auc"].value
                )
    for name, aucs in values.items():
        each = np.mean(np.reshape(aucs, (trials, -1)), axis=1)
        error = each.std(ddof=1) / trials**0.5
        assert abs(each.mean() - 0.5) < 3.5 * error, name


@pytest.mark.parametrize("rows", [3000])
def test_enough_rows_pass_a_set_that_leaks_nothing(rows: int) -> None:
    trials = count(2, 100)
    passed = []
    for seed in range(trials):
        draw = np.random.default_rng([12, seed])
        files = recorded(said_of(draw, rows, signs=(1.0, -1.0, 0.0)))
        passed.append(judged(files, seed=seed).status is Status.PASS)
    assert sum(passed) >= (0.95 * trials if calibrating() else trials - 1)


@pytest.mark.parametrize("lifts", HIDING, ids=lambda lifts: f"{len(lifts)} files {lifts}")
def test_a_set_fails_of_which_every_file_passes(lifts: tuple[float, ...], tmp_path: Path) -> None:
    """How easy a row is hides a small lift in each file, and not in the difference of two."""
    for seed in range(count(1, 20)):
        draw = np.random.default_rng([13, seed])
        said = said_of(draw, 2500, signs=[1.0] * len(lifts), lifts=lifts)
        found = audit_jointly(saved(said, tmp_path)).document
        assert found.verdict is Status.FAIL
        assert [str(file.verdict) for file in found.files] == ["PASS"] * len(lifts)
        assert "none fails alone" in found.next_steps[0]
        failed = [check for check in found.checks if check.status is Status.FAIL]
        assert {check.attack for check in failed} <= {"pair", "joint"}
        new = found.newly_exposed_by_set
        assert new is not None
        assert new.rate > 2 * new.false_positive_rate
        assert len(new.rows) == round(new.rate * new.members)


@pytest.mark.parametrize("lift", [0.5, 1.0])
def test_several_files_tell_no_less_than_any_of_them(lift: float) -> None:
    """On the same rows the best attack on one file is not surely above those on two or all."""
    for seed in range(count(2, 60)):
        draw = np.random.default_rng([14, seed])
        files = recorded(said_of(draw, 1000, signs=(1.0, -1.0, 0.0), lifts=[lift] * 3, noise=0.3))
        found = judged(files, seed=seed)
        for scope in (s for s in found.scopes if not s.alone):
            inside = [s for s in found.singles if set(s.files) <= set(scope.files)]
            (attack,) = scope.attacks
            several = scope.subject.attacked_by(attack).judged
            for single in inside:
                alone = single.subject.attacked_by(ATTACKS.build("neural", where="test")).judged
                gap = auc_difference(
                    alone.members,
                    alone.nonmembers,
                    several.members,
                    several.nonmembers,
                    level=0.999,
                )
                assert gap.low <= 0.01


def shadowed(
    seed: int, *, rows: int = 600, models: int = 12, lift: float = 2.0, leaks: bool = True
) -> tuple[list[dict[str, object]], list[Pool[References]]]:
    """Return two files and their references: a member's lift shows in the sum of both alone.

    Where the target leaks not, its references leak all the same.
    """
    draw = np.random.default_rng([15, seed])
    labels = draw.integers(0, 3, 2 * rows)
    at = np.arange(2 * rows), labels
    base = draw.normal(size=(2 * rows, 3))
    base[at] += 1.0
    seen = draw.random((models + 1, 2 * rows)).argsort(axis=0) < (models + 1) // 2
    seen[-1] = np.arange(2 * rows) < rows
    logits = np.zeros((2, models + 1, 2 * rows, 3))
    for model in range(models + 1):
        shared = 3 * draw.normal(size=2 * rows)
        for file, sign in enumerate((1.0, -1.0)):
            logits[file, model] = base + 0.2 * draw.normal(size=base.shape)
            knows = 1.0 if leaks or model < models else 0.0
            logits[file, model][at] += knows * lift * 0.5 * seen[model] + sign * shared
    said, references = [], []
    for file in range(2):
        values = torch.from_numpy(logits[file]).float()
        ys, saw = torch.from_numpy(labels), torch.from_numpy(seen[:-1])
        cuts = slice(0, rows), slice(rows, 2 * rows)
        said.append(
            {
                f"{side}_{what}": array[cut]
                for side, cut in zip(("member", "nonmember"), cuts, strict=True)
                for what, array in (("logits", values[-1].numpy()), ("labels", labels))
            }
        )
        references.append(
            Pool(*(References.of(values[:-1, cut], ys[cut], saw[:, cut]) for cut in cuts))
        )
    return said, references


def test_references_in_every_file_are_read_side_by_side() -> None:
    for seed in range(count(1, 20)):
        found = judged(recorded(*shadowed(seed)), seed=seed)
        family = found.scopes[-1]
        assert [attack.name for attack in family.attacks] == ["pair", "learnt-set"]
        figures = found.figures_of
        alone = [figures[s.name].attacks["learnt-references.auc"].value for s in found.singles]
        together = figures[family.name].attacks["learnt-set.auc"].value
        assert together > max(alone) + 0.1


def test_what_references_leak_is_not_charged_to_files_that_leak_nothing() -> None:
    values = []
    for seed in range(count(2, 100)):
        said, references = shadowed(seed, rows=300, models=6, leaks=False)
        found = judged(recorded(said, references), seed=seed)
        auc_of = found.figures_of[found.scopes[-1].name].attacks["learnt-set.auc"]
        values.append((auc_of.value, auc_of.low <= 0.5 <= auc_of.high))
    spread = 0.5 * (1 / 300) ** 0.5 / len(values) ** 0.5
    assert abs(np.mean([value for value, _ in values]) - 0.5) < 3.5 * spread
    assert sum(inside for _, inside in values) >= 0.9 * len(values) - 1


def test_references_of_other_rows_are_not_read_together() -> None:
    said, references = shadowed(0, rows=200, models=6)
    other = references[1].map(lambda r: References(r.log_odds, ~r.seen, r.logits))
    found = judged(recorded(said, [references[0], other]), seed=0)
    assert [attack.name for attack in found.scopes[-1].attacks] == ["pair"]


def test_what_is_learned_on_references_does_not_read_membership() -> None:
    """A row's score is the same whichever group the auditor puts it in."""
    said, references = shadowed(1, rows=300, models=8)
    (first, second) = recorded(said, references)
    pool = first.evidence.zip(
        second.evidence,
        lambda a, b: replace(
            a, family=(b.outputs,), references=replace(a.references, beside=(b.references,))
        ),
    )
    attack = ATTACKS.build("learnt-set", where="test")
    mixed = _regrouped(pool, seed=2)
    before, after = (
        attack(p, halves=p.map(lambda e: torch.arange(len(e.outputs)) % 2 == 0), seed=0)
        for p in (pool, mixed)
    )
    ids, scores = (torch.cat([p.members, p.nonmembers]) for p in (before.ids, before.scores))
    ids_, scores_ = (torch.cat([p.members, p.nonmembers]) for p in (after.ids, after.scores))
    torch.testing.assert_close(scores[ids.argsort()], scores_[ids_.argsort()], rtol=1e-6, atol=1e-6)
    assert auc(before.scores.members, before.scores.nonmembers) > 0.7


def _regrouped(pool: Pool[Evidence], *, seed: int) -> Pool[Evidence]:
    """Return the same rows in random groups."""
    a, b = pool.members, pool.nonmembers

    def joined(one: Outputs, other: Outputs) -> Outputs:
        return Outputs(
            *(
                torch.cat(pair)
                for pair in (
                    (one.logits, other.logits),
                    (one.labels, other.labels),
                    (one.ids, other.ids),
                )
            )
        )

    every = Evidence(
        joined(a.outputs, b.outputs),
        family=(joined(a.family[0], b.family[0]),),
        references=a.references.together(b.references),
    )
    draw = np.random.default_rng(seed)
    order = torch.from_numpy(draw.permutation(len(every.outputs)))
    half = len(order) // 2
    return Pool(every.take(order[:half]), every.take(order[half:]))


def test_a_secret_dense_model_is_compared_with_and_never_read(tmp_path: Path) -> None:
    """Whatever it says changes no attack on several files; published, it is one of them."""
    draw = np.random.default_rng(16)
    said = said_of(draw, 400, signs=(1.0, -1.0, 0.0), lifts=(0.3, 0.3, 0.3))
    paths = saved(said, tmp_path)
    several = []
    for number in range(2):
        dense = (
            said[2]
            if number == 0
            else {
                name: array
                + (0.5 if name.endswith("logits") else 0) * draw.normal(size=array.shape)
                for name, array in said[2].items()
            }
        )
        np.savez(
            tmp_path / "dense.npz",
            **{n: a.astype(said[2][n].dtype) for n, a in dense.items()},
        )
        found = audit_jointly(paths[:2], baseline=tmp_path / "dense.npz").document
        assert found.dense == "secret"
        assert any("≤ dense" in check.name for check in found.checks)
        several.append([(h.attack, h.auc) for h in (*found.pairs, found.family)])
    assert several[0] == several[1]
    published = audit_jointly(paths, baseline=paths[2]).document
    assert published.dense == "published"
    assert [file.name for file in published.files] == [path.name for path in paths]
    assert not any(
        check.name.startswith(paths[2].name) and "dense" in check.name for check in published.checks
    )
