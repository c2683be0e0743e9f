"""Laws of the splits: disjoint, blind to non-members, a function of the seed, sealed."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress.config import PreprocessingConfig, SplitConfig
from safecompress.data import (
    Column,
    Ledger,
    Preprocessor,
    RawData,
    Splits,
    halves,
    splits_from_arrays,
)
from safecompress.data.duplicates import content_of_raw
from safecompress.errors import DataError, SplitOverlapError, StorageError
from safecompress.protocols import Pool, Rows
from tests.support import count

LAW = settings(max_examples=count(30, 1000), deadline=None)
SEEDS = st.integers(0, 2**31)


def opened(splits: Splits) -> Pool[Rows]:
    return splits.open_sealed(Ledger(None), model_digest="m")[0]


def groups(splits: Splits) -> dict[str, Rows]:
    sealed = opened(splits)
    found = {
        "steer.members": splits.steer.members,
        "steer.nonmembers": splits.steer.nonmembers,
        "sealed.members": sealed.members,
        "sealed.nonmembers": sealed.nonmembers,
    }
    return found if splits.reference is None else {**found, "reference": splits.reference}


def rows(n: int, *, start: int = 0, seed: int = 0) -> Rows:
    ids = torch.arange(start, start + n)
    inputs = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed + start))
    return Rows(inputs, ids % 3, ids)


def contents(group: Rows) -> set[bytes]:
    return {row.numpy().tobytes() for row in group.inputs}


@LAW
@given(
    n=st.integers(80, 160),
    values=st.integers(120, 400),
    steer=st.floats(0.3, 0.7),
    reference=st.sampled_from([0, 3, 0.1]),
    membership=st.sampled_from(["fresh", "unseen", "pair"]),
    seed=SEEDS,
)
def test_groups_share_no_row_and_no_content(n, values, steer, reference, membership, seed):
    """Few distinct values make many exact duplicates; none may straddle two groups."""
    x = np.random.default_rng(seed).integers(0, values, (n, 1)).astype(float)
    y = np.arange(n) % 2
    split = SplitConfig(membership=membership, steer=steer, reference=reference)
    test = (x + values // 2, y) if membership == "pair" else None
    plain = PreprocessingConfig(features="none")
    splits = splits_from_arrays(x, y, test=test, split=split, seed=seed, preprocessing=plain)
    found = groups(splits)
    ids = torch.cat([group.ids for group in found.values()])
    assert len(ids) == len(ids.unique())
    for name, group in found.items():
        for other in list(found)[list(found).index(name) + 1 :]:
            assert not contents(group) & contents(found[other]), (name, other)
    both = torch.cat([found["steer.members"].ids, found["sealed.members"].ids])
    assert torch.equal(both.sort().values, splits.members.ids.sort().values)
    assert len(ids) + len(splits.report.dropped) == splits.report.used_rows
    if membership == "pair":
        assert sorted(splits.members.ids.tolist()) == list(range(n))


@pytest.mark.parametrize("membership", ["fresh", "pair"])
def test_duplicates_across_groups_fail_where_they_are_not_to_be_dropped(membership):
    x = np.arange(100.0).reshape(50, 2)
    test = (np.arange(100.0).reshape(50, 2) + 1000, np.arange(50) % 2)
    if membership == "pair":
        test[0][[4, 9]] = x[[1, 2]]
        x_all, expected = x, r"and members share 2 rows with the same inputs \(first: 54, 59\)"
    else:
        x_all, expected = np.concatenate([x[:25], x[:25]]), r"share \d+ rows with the same inputs"
    y = np.arange(50) % 2
    split = SplitConfig(membership=membership, deduplicate=False, steer=0.9)
    arguments = {"test": test if membership == "pair" else None, "split": split, "seed": 1}
    # Both copies steer with this seed and share, so one message names both.
    with pytest.raises(SplitOverlapError, match=expected):
        splits_from_arrays(x_all, y, **arguments)


def test_members_keep_their_duplicates_and_the_first_nonmember_stays():
    x = np.arange(40.0)[:, None]
    test = np.arange(100.0, 140)[:, None]
    x[1] = x[0]
    test[3], test[5], test[7] = x[0], test[4], test[4]
    y = np.arange(40) % 2
    splits = splits_from_arrays(x, y, test=(test, y), split=SplitConfig(membership="pair"), seed=0)
    assert splits.report.duplicates == {
        "among_members_kept": 1,
        "nonmembers_like_members_dropped": 1,
        "nonmembers_repeated_dropped": 2,
    }
    assert splits.report.dropped == (43, 45, 47)
    assert len(splits.members) == 40
    steers = set(splits.steer.members.ids.tolist())
    assert (0 in steers) == (1 in steers)


def test_texts_equal_after_the_cut_are_duplicates():
    texts = [f"word{i} second third{i}" for i in range(40)]
    texts[20] = "word0 second another"
    raw = RawData(
        (Column("t", "text", np.array(texts, dtype=object)),),
        np.arange(40) % 2,
        ("0", "1"),
    )
    assert content_of_raw(raw, max_words=None).tolist() == list(range(40))
    assert content_of_raw(raw, max_words=2)[20] == 0


def test_cells_are_not_confused_with_their_neighbors():
    columns = (
        Column("a", "categorical", np.array(["x", "xy"], dtype=object)),
        Column("b", "text", np.array(["yz", "z"], dtype=object)),
    )
    assert content_of_raw(RawData(columns, np.arange(2), ("0", "1")), max_words=None)[1] == 1


@LAW
@given(n=st.integers(8, 40), m=st.integers(8, 40), k=st.integers(1, 5), data=st.data())
def test_an_injected_overlap_of_ids_raises_and_names_rows(n, m, k, data):
    members, nonmembers = rows(n), rows(m, start=100)
    shared = sorted(data.draw(st.permutations(range(n)))[:k])
    ids = nonmembers.ids.clone()
    ids[:k] = torch.tensor(shared)
    with pytest.raises(SplitOverlapError) as caught:
        Splits.from_rows(members, replace(nonmembers, ids=ids), classes=3, seed=0)
    named = ", ".join(str(i) for i in shared[:3])
    assert f"nonmembers and members share {k} rows (first: {named})" in str(caught.value)


@LAW
@given(n=st.integers(8, 40), m=st.integers(16, 40), k=st.integers(1, 4), seed=SEEDS)
def test_an_injected_overlap_of_inputs_raises_or_is_dropped(n, m, k, seed):
    members, nonmembers = rows(n), rows(m, start=100)
    inputs = nonmembers.inputs.clone()
    inputs[:k] = members.inputs[:k]
    overlapping = replace(nonmembers, inputs=inputs)
    with pytest.raises(SplitOverlapError, match=r"members share .* with the same inputs"):
        Splits.from_rows(members, overlapping, classes=3, seed=seed)
    splits = Splits.from_rows(members, overlapping, classes=3, seed=seed, deduplicate=True)
    assert splits.report.duplicates["nonmembers_like_members_dropped"] == k
    nonmember_ids = torch.cat([splits.steer.nonmembers.ids, opened(splits).nonmembers.ids])
    assert nonmember_ids.min() >= 100 + k


@pytest.mark.parametrize("target", ["steer.nonmembers", "sealed.nonmembers", "reference"])
@pytest.mark.parametrize("intruder", ["steer.members", "sealed.members", "members"])
def test_splits_that_are_put_together_by_hand_are_checked_too(target, intruder):
    made = Splits.from_rows(rows(20), rows(30, start=100), classes=3, seed=0, reference=6)
    known = {**groups(made), "members": made.members}
    stolen = known[intruder].ids[:2].sort().values
    changed = {**groups(made)}
    group = changed[target]
    changed[target] = replace(group, ids=torch.cat([stolen, group.ids[2:]]))
    parts = {f.name: getattr(made, f.name) for f in fields(Splits)}
    parts["steer"] = Pool(changed["steer.members"], changed["steer.nonmembers"])
    parts["_sealed"] = Pool(changed["sealed.members"], changed["sealed.nonmembers"])
    parts["reference"] = changed["reference"]
    with pytest.raises(SplitOverlapError) as caught:
        Splits(**parts)
    assert f"{target} and members share 2 rows" in str(caught.value)
    assert f"(first: {stolen[0]}, {stolen[1]})" in str(caught.value)


def test_members_must_be_the_two_halves_together():
    made = Splits.from_rows(rows(20), rows(20, start=100), classes=3, seed=0)
    parts = {f.name: getattr(made, f.name) for f in fields(Splits)}
    with pytest.raises(DataError, match="19 members are not the 20"):
        Splits(**{**parts, "members": made.members.take(torch.arange(19))})
    with pytest.raises(SplitOverlapError, match="more than once"):
        Splits(**{**parts, "members": made.members.take(torch.zeros(20, dtype=torch.int64))})


@LAW
@given(n=st.integers(0, 200), seed=SEEDS, shuffle=SEEDS)
def test_halves_are_exact_and_blind_to_the_order_of_rows(n, seed, shuffle):
    ids = torch.randperm(10 * n + 1, generator=torch.Generator().manual_seed(seed))[:n]
    order = torch.randperm(n, generator=torch.Generator().manual_seed(shuffle))
    mask = halves(ids, seed=seed)
    assert int(mask.sum()) == n // 2
    assert torch.equal(halves(ids[order], seed=seed), mask[order])


def test_halves_depend_on_the_seed_and_refuse_repeated_ids():
    ids = torch.arange(100)
    assert not torch.equal(halves(ids, seed=0), halves(ids, seed=1))
    with pytest.raises(DataError, match="first: 3"):
        halves(torch.tensor([1, 3, 3]), seed=0)


def test_every_row_is_as_likely_as_any_other_to_be_in_a_half():
    draws = count(400, 20_000)
    taken = sum(halves(torch.arange(10), seed=s).double() for s in range(draws)) / draws
    assert (taken - 0.5).abs().max() < 5 * (0.25 / draws) ** 0.5


def mixed(n: int, generator: np.random.Generator) -> RawData:
    words = np.array(["card", "bank", "fee", "lost", "pay", "top"])
    return RawData(
        (
            Column("n", "numeric", np.where(np.arange(n) % 9, generator.normal(size=n), np.nan)),
            Column("c", "categorical", generator.choice(list("abc"), n).astype(object)),
            Column(
                "t",
                "text",
                np.array([" ".join(generator.choice(words, 4)) for _ in range(n)], dtype=object),
            ),
        ),
        np.arange(n) % 2,
        ("0", "1"),
    )


def raw_of(kind: str, n: int, generator: np.random.Generator) -> RawData:
    if kind == "table":
        return mixed(n, generator)
    x = (
        generator.integers(0, 256, (n, 5, 5, 3), dtype=np.uint8)
        if kind == "images"
        else generator.normal(size=(n, 3)) * 5
    )
    return RawData(x, np.arange(n) % 2, ("0", "1"))


def with_rows_from(raw: RawData, other: RawData, changed: np.ndarray) -> RawData:
    def merged(a, b):
        result = a.copy()
        result[changed] = b[changed]
        return result

    if isinstance(raw.columns, tuple):
        pairs = zip(raw.columns, other.columns, strict=True)
        columns = tuple(replace(a, values=merged(a.values, b.values)) for a, b in pairs)
    else:
        columns = merged(raw.columns, other.columns)
    return replace(raw, columns=columns)


@LAW
@given(
    kind=st.sampled_from(["table", "images", "numbers"]),
    weighting=st.sampled_from(["count", "binary", "tfidf"]),
    seed=SEEDS,
)
def test_preprocessing_learns_from_members_and_from_nobody_else(kind, weighting, seed):
    generator = np.random.default_rng(seed)
    raw, other = raw_of(kind, 30, generator), raw_of(kind, 30, generator)
    members = np.sort(generator.permutation(30)[:12])
    nonmembers = np.setdiff1d(np.arange(30), members)
    config = PreprocessingConfig(weighting=weighting, ngrams=2, vocabulary=20)
    fitted = Preprocessor.fit(raw, members, config)
    changed = with_rows_from(raw, other, nonmembers)
    assert Preprocessor.fit(changed, members, config) == fitted
    moved = with_rows_from(raw, other, members)
    assert Preprocessor.fit(moved, members, config) != fitted


@LAW
@given(seed=SEEDS)
def test_the_same_seed_gives_the_same_splits_and_another_gives_others(seed):
    x, y = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 2
    split = SplitConfig(reference=4, rows=50)
    first, again, other = (
        splits_from_arrays(x, y, split=split, seed=s) for s in (seed, seed, seed + 1)
    )
    assert first.digests() == again.digests()
    assert set(first.digests()) == {"members", "steer", "sealed", "reference"}
    for name, rows_ in groups(first).items():
        assert torch.equal(rows_.inputs, groups(again)[name].inputs)
    assert first.sealed_digest != other.sealed_digest


@pytest.mark.parametrize("side", ["members", "nonmembers"])
@pytest.mark.parametrize("part", ["inputs", "labels", "ids"])
def test_the_digest_changes_when_a_sealed_row_changes(side, part):
    made = Splits.from_rows(rows(20), rows(20, start=100), classes=3, seed=0)
    sealed = opened(made)
    group = getattr(sealed, side)
    tensor = getattr(group, part).clone()
    tensor[-1] = tensor[-1] + (1e-6 if part == "inputs" else 1 if part == "labels" else 500)
    changed = replace(group, **{part: tensor})
    parts = {f.name: getattr(made, f.name) for f in fields(Splits)}
    parts["_sealed"] = replace(sealed, **{side: changed})
    if side == "members" and part == "ids":
        ids = made.members.ids.clone()
        ids[ids == group.ids[-1]] += 500
        parts["members"] = replace(made.members, ids=ids)
    assert Splits(**parts).sealed_digest != made.sealed_digest
    assert Splits(**{**parts, "_sealed": sealed, "members": made.members}).sealed_digest == (
        made.sealed_digest
    )


def test_sealed_rows_leave_only_through_the_counting_door():
    made = Splits.from_rows(rows(20), rows(20, start=100), classes=3, seed=0)
    ledger = Ledger(None)
    looks = [made.open_sealed(ledger, model_digest=m, run="r")[1] for m in "aab"]
    assert looks == [1, 1, 2]
    hidden = set(opened(made).nonmembers.ids.tolist())
    assert hidden
    public = {n: getattr(made, n) for n in dir(made) if not n.startswith("_")}
    for name, value in public.items():
        held = [value] if isinstance(value, Rows) else []
        held += [value.members, value.nonmembers] if isinstance(value, Pool) else []
        for group in held:
            assert not hidden & set(group.ids.tolist()), name
    assert not any(str(i) in repr(made) for i in sorted(hidden)[:1])


def test_a_ledger_that_cannot_be_written_keeps_the_rows_sealed(tmp_path):
    made = Splits.from_rows(rows(20), rows(20, start=100), classes=3, seed=0)
    with pytest.raises(StorageError):
        made.open_sealed(Ledger(tmp_path), model_digest="m")


def test_draws_of_members_are_blind_to_content():
    """Where rows repeat, members and non-members must still come from one distribution."""
    n = 200
    x = np.concatenate([np.zeros(100), np.arange(1.0, 101)])[:, None]
    y = np.arange(n) % 2
    seeds = range(count(200, 5000))
    split = SplitConfig(members=0.5)
    common = [
        bool((splits_from_arrays(x, y, split=split, seed=s).members.ids == 0).any()) for s in seeds
    ]
    assert abs(np.mean(common) - 0.5) < 5 * (0.25 / len(common)) ** 0.5


def test_inputs_may_be_any_pytree():
    def nested(group: Rows, form):
        return replace(group, inputs=form(group.inputs, group.ids))

    for form in (lambda x, i: (x, i[:, None]), lambda x, i: {"mask": i, "x": x}):
        made = Splits.from_rows(
            nested(rows(20), form), nested(rows(20, start=100), form), classes=3, seed=0
        )
        plain = Splits.from_rows(rows(20), rows(20, start=100), classes=3, seed=0)
        assert torch.equal(made.members.ids, plain.members.ids)
        assert made.sealed_digest != plain.sealed_digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: replace(r, labels=r.labels + 9), "labels run from 9 to 11"),
        (lambda r: replace(r, labels=r.labels.float()), "float32"),
        (lambda r: replace(r, inputs=r.inputs * float("nan")), r"NaN .* in 20 rows"),
        (lambda r: r.take(torch.arange(0)), "no rows"),
        (lambda r: r.take(torch.arange(6)), "too few rows"),
    ],
)
def test_rows_in_memory_are_checked(change, message):
    with pytest.raises(DataError, match=message):
        Splits.from_rows(change(rows(20)), rows(20, start=100), classes=3, seed=0)
