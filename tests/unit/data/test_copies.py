"""Rows in both groups and rows given several times: copies are told from coincidences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from safecompress.data import distinct_rows, read_outputs
from safecompress.data.copies import shared_rows
from safecompress.errors import DataError, SplitOverlapError
from safecompress.protocols import Pool, Rows
from tests.support import count

Array = np.ndarray[Any, Any]
Group = tuple[Array, Array]
Round = Callable[[Array], Array]

COARSE: dict[str, Round] = {
    "float32": lambda p: p,
    "3 decimals": lambda p: p.round(3),
    "2 decimals": lambda p: p.round(2),
    "8 bits": lambda p: np.round(p * 255) / 255,
    "float16": lambda p: p.astype(np.float16),
}


def group(rows: int, *, classes: int, seed: int, lift: float = 0.0) -> Group:
    """Return probabilities and labels of distinct rows; the model is often wrong."""
    draw = np.random.default_rng(seed)
    y = draw.integers(0, classes, rows)
    z = draw.normal(size=(rows, classes))
    z[np.arange(rows), y] += 1 + lift
    e = np.exp(z)
    return e / e.sum(axis=1, keepdims=True), y


def of(group: Group, rows: Any) -> Group:
    return group[0][rows], group[1][rows]


def both(*groups: Group) -> Group:
    return np.concatenate([g[0] for g in groups]), np.concatenate([g[1] for g in groups])


def read(folder: Path, members: Group, others: Group, how: Round = lambda p: p) -> Any:
    path = folder / "outputs.npz"
    np.savez(
        path,
        member_logits=np.asarray(how(members[0])).astype(np.float32),
        member_labels=members[1],
        nonmember_logits=np.asarray(how(others[0])).astype(np.float32),
        nonmember_labels=others[1],
    )
    return read_outputs(path)


SIZES = [(200, 200), (400, 200), (800, 200), (1000, 1000), (2000, 500), (5000, 300), (20000, 1000)]


@pytest.mark.parametrize("answers", [500, 2000, 5000])
def test_coincidences_of_distinct_rows_are_not_refused(answers: int) -> None:
    """In 280 draws of each number of answers, also where the groups prefer different answers."""
    draw = np.random.default_rng(answers)
    for m, n in SIZES:
        for trial in range(40):
            often = draw.dirichlet(np.full(answers, (0.3, 1.0, 10.0)[trial % 3]))
            other = draw.dirichlet(np.ones(answers)) if trial % 2 else often
            rows = [draw.choice(answers, m, p=often), draw.choice(answers, n, p=other)]
            assert shared_rows(*rows) == (0, 0), (m, n, trial)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("how", list(COARSE))
def test_distinct_rows_with_coarse_answers_are_all_judged(
    how: str, classes: int, tmp_path: Path
) -> None:
    for seed, (m, n) in enumerate([(1000, 100), (200, 200), (100, 800), (3000, 300)]):
        found = read(
            tmp_path,
            group(m, classes=classes, seed=seed, lift=2.0 * (seed % 2)),
            group(n, classes=classes, seed=seed + 50),
            COARSE[how],
        )
        assert (len(found.outputs.members), len(found.outputs.nonmembers)) == (m, n)
        assert found.given is None


def test_answers_of_a_nearest_neighbor_are_not_copies(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, 900)
    says = np.where(draw.random(900) < 0.6, labels, draw.integers(0, 3, 900))
    says[:600] = labels[:600]
    rows = (np.eye(3)[says], labels)
    found = read(tmp_path, of(rows, slice(600)), of(rows, slice(600, 900)))
    assert len(found.outputs.members) == 600


def close(p: Array) -> Array:
    return p + np.random.default_rng(1).uniform(-1e-6, 1e-6, p.shape)


COPIED: dict[str, Callable[[Group, Group], Group]] = {
    "once": lambda a, _: a,
    "shuffled": lambda a, _: of(a, np.random.default_rng(0).permutation(len(a[1]))),
    "twice": lambda a, _: both(a, a),
    "each five times": lambda a, _: of(a, np.repeat(np.arange(len(a[1])), 5)),
    "a millionth apart": lambda a, _: (close(a[0]), a[1]),
    "twice, a millionth apart": lambda a, _: both((close(a[0]), a[1]), a),
    "half of them": lambda a, b: both(of(a, slice(len(a[1]) // 2)), b),
    "a twentieth of them": lambda a, b: both(b, of(a, slice(len(a[1]) // 20))),
    "drawn with repetitions": lambda a, _: of(a, np.random.default_rng(0).integers(0, 600, 600)),
}


@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("case", list(COPIED))
def test_members_among_the_non_members_are_refused(case: str, classes: int, tmp_path: Path) -> None:
    members = group(600, classes=classes, seed=2)
    others = COPIED[case](members, group(600, classes=classes, seed=3))
    with pytest.raises(DataError, match="the same rows are in both groups"):
        read(tmp_path, members, others)


def logits(rows: int, *, classes: int, seed: int) -> Group:
    """Return logits and labels of distinct rows, some of them hard."""
    draw = np.random.default_rng(seed)
    y, z = draw.integers(0, classes, rows), draw.normal(size=(rows, classes))
    z[np.arange(rows), y] += draw.normal(2, 2, rows)
    return 2 * z, y


def bfloat16(z: Array) -> Array:
    return torch.from_numpy(z).bfloat16().double().numpy()


AGAIN: dict[str, Round] = {
    "float16": lambda z: z.astype(np.float16).astype(float),
    "bfloat16": bfloat16,
    "8 bits": lambda z: np.round(z * 10) / 10,
    "a changed row": lambda z: z + np.random.default_rng(1).normal(0, 0.01, z.shape),
}


@pytest.mark.parametrize(("rows", "share"), [(600, 1.0), (2000, 0.3), (40_000, 0.5)])
@pytest.mark.parametrize("how", list(AGAIN))
def test_members_asked_again_in_another_way_are_refused(
    how: str, rows: int, share: float, tmp_path: Path
) -> None:
    members, others = (logits(rows, classes=10, seed=seed) for seed in (2, 3))
    some = of(members, np.random.default_rng(0).permutation(rows)[: int(share * rows)])
    again = both((AGAIN[how](some[0]), some[1]), of(others, slice(rows - len(some[1]))))
    with pytest.raises(DataError, match="the same rows are in both groups"):
        read(tmp_path, members, again)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_distinct_rows_that_stand_close_are_not_refused(classes: int, tmp_path: Path) -> None:
    """Also where the model is surer of members, and where natural duplicates fall by chance."""
    for seed in range(count(6, 100)):
        draw = np.random.default_rng(seed)
        z, y = logits(int(draw.integers(300, 3000)), classes=classes, seed=seed)
        twins = draw.random(len(y)) < draw.choice([0.0, 0.1, 0.5])
        z = np.concatenate([z, z[twins] + draw.normal(0, 1e-3, (int(twins.sum()), classes))])
        y = np.concatenate([y, y[twins]])
        member = draw.random(len(y)) < draw.uniform(0.2, 0.8)
        z[member, y[member]] += draw.choice([0.0, 1.0])
        found = read(tmp_path, of((z, y), member), of((z, y), ~member))
        assert len(found.outputs.members) + len(found.outputs.nonmembers) == len(y)


@pytest.mark.parametrize("how", list(COARSE))
def test_the_very_members_are_refused_at_any_rounding(how: str, tmp_path: Path) -> None:
    members = group(600, classes=2, seed=2)
    for others in (members, of(members, slice(None, None, -1)), both(members, members)):
        with pytest.raises(DataError, match="the same rows are in both groups"):
            read(tmp_path, members, others, COARSE[how])


@pytest.mark.parametrize(("rows", "times"), [(100, 10), (200, 20), (60, 40), (300, 2)])
@pytest.mark.parametrize("how", ["float32", "3 decimals"])
def test_rows_given_several_times_are_judged_once(
    rows: int, times: int, how: str, tmp_path: Path
) -> None:
    members, others = (group(rows, classes=3, seed=seed) for seed in (4, 5))
    wanted = read(tmp_path, members, others, COARSE[how]).outputs
    for order in (np.repeat(np.arange(rows), times), np.tile(np.arange(rows), times)):
        found = read(tmp_path, of(members, order), of(others, order), COARSE[how])
        assert torch.equal(found.outputs.members.logits, wanted.members.logits)
        assert torch.equal(found.outputs.nonmembers.labels, wanted.nonmembers.labels)
        assert found.given == Pool(rows * times, rows * times)
        assert f"{rows * (times - 1):,} of {rows * times:,} members" in found.remarks[-1]


def test_some_rows_given_several_times_are_judged_once(tmp_path: Path) -> None:
    members, others = (group(500, classes=4, seed=seed) for seed in (6, 7))
    again = np.random.default_rng(0).integers(0, 500, 300)
    found = read(tmp_path, both(members, of(members, again)), others)
    assert (len(found.outputs.members), len(found.outputs.nonmembers)) == (500, 500)
    assert found.outputs.members.ids.tolist() == list(range(500))


def rows(x: Array, start: int = 0) -> Rows:
    n = len(x)
    return Rows(
        torch.from_numpy(x), torch.zeros(n, dtype=torch.int64), torch.arange(start, start + n)
    )


def test_known_inputs_are_compared_within_the_last_digits() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(400, 5)).astype(np.float32)
    u = draw.normal(size=(300, 5)).astype(np.float32)
    fresh = distinct_rows(Pool(rows(x), rows(u, 400)))
    assert (len(fresh.members), len(fresh.nonmembers)) == (400, 300)
    for copy in (x, x * np.float32(1 + 2e-7), x[::-1].copy(), np.repeat(x, 2, axis=0)):
        with pytest.raises(DataError, match="have the inputs of"):
            distinct_rows(Pool(rows(x), rows(copy, 400)))
    mixed = Pool(rows(np.concatenate([x, x[:50]])), rows(np.concatenate([u, u[:7], x[:3]]), 450))
    found = distinct_rows(mixed)
    assert found.members.ids.tolist() == list(range(400))
    assert found.nonmembers.ids.tolist() == list(range(450, 750))
    assert [text.split(" of ")[0] for text in found.remarks] == ["3", "50"]
    with pytest.raises(SplitOverlapError):
        distinct_rows(mixed, deduplicate=False)


def test_near_rows_of_one_column_are_chance_and_kept() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(20_000, 1))
    found = distinct_rows(Pool(rows(x[:10_000]), rows(x[10_000:], 10_000)))
    assert (len(found.members), len(found.nonmembers)) == (10_000, 10_000)


def test_few_different_inputs_are_no_refusal() -> None:
    draw = np.random.default_rng(0)
    x, u = (draw.integers(0, 7, (n, 4)) for n in (3000, 800))
    found = distinct_rows(Pool(rows(x), rows(u, 3000)))
    assert len(found.members) == len(np.unique(x, axis=0))
    known = {tuple(r) for r in x.tolist()}
    assert len(found.nonmembers) == len({tuple(r) for r in u.tolist()} - known)
