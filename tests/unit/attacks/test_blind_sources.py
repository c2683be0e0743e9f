"""The blind baseline compares rows as their source has them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from safecompress.attacks.controls import blind_baseline
from safecompress.config import PreprocessingConfig, SplitConfig
from safecompress.data.load import splits_from_raw
from safecompress.data.raw import Column, RawData
from safecompress.data.source_rows import source_rows
from safecompress.errors import DataError
from safecompress.protocols import Pool, Rows, SourceRows
from tests.support import count

N = 500


def raw_table(kind: str, *, seed: int) -> RawData:
    """Return a table whose rows are drawn alike, most of whose values are rare."""
    draw = np.random.default_rng(seed)
    frequent = 1 / np.arange(1, 3001)
    words = draw.choice(3000, size=(2 * N, 10), p=frequent / frequent.sum())
    if kind == "text":
        values = np.array([" ".join(f"term{i}" for i in row) for row in words], dtype=object)
    else:
        values = np.array([f"code {row[0]}-{row[1]}" for row in words], dtype=object)
    amounts = draw.normal(size=2 * N)
    amounts[draw.random(2 * N) < 0.1] = np.nan
    columns = (Column("said", kind, values), Column("amount", "numeric", amounts))
    return RawData(columns, draw.integers(2, size=2 * N), ("no", "yes"))


def halved(raw: RawData, *, seed: int):
    return splits_from_raw(
        raw,
        split=SplitConfig(),
        preprocessing=PreprocessingConfig(vocabulary=2000),
        membership="fresh",
        seed=seed,
    )


def blind(pool: Pool[Rows], *, seed: int = 0):
    halves = pool.map(lambda rows: torch.arange(len(rows)) % 2 == 0)
    return blind_baseline(pool, halves=halves, seed=seed)


@pytest.mark.parametrize("kind", ["text", "categorical"])
def test_what_a_vocabulary_of_the_members_tells_is_no_difference_of_the_groups(kind):
    for seed in range(count(2, 40)):
        steer = halved(raw_table(kind, seed=seed), seed=seed).steer
        assert not blind(steer).alarm
        inputs_alone = steer.map(lambda rows: replace(rows, source=None))
        assert blind(inputs_alone).alarm, "otherwise this test shows nothing"


@pytest.mark.parametrize("change", ["word", "amount", "gap", "script"])
def test_what_does_differ_between_the_groups_is_seen(change):
    steer = halved(raw_table("text", seed=1), seed=1).steer

    def changed(rows: Rows) -> Rows:
        numbers, texts = rows.source.numbers.clone(), rows.source.texts.copy()
        some = np.random.default_rng(0).random(len(texts)) < 0.5
        if change == "word":
            texts[some, 0] = [f"{text} winter" for text in texts[some, 0]]
        elif change == "script":
            texts[some, 0] = [f"{text}東京都庁" for text in texts[some, 0]]
        elif change == "amount":
            numbers += 1.5
        else:
            numbers[torch.from_numpy(some)] = torch.nan
        return replace(rows, source=SourceRows(numbers, texts))

    assert blind(Pool(changed(steer.members), steer.nonmembers)).alarm


def test_the_source_follows_the_rows():
    raw = raw_table("text", seed=3)
    splits = halved(raw, seed=3)
    said = raw.columns[0].values
    for rows in (splits.members, splits.steer.members, splits.steer.nonmembers):
        part = rows.take(torch.arange(len(rows)).flip(0)[:50])
        assert part.source.texts[:, 0].tolist() == said[part.ids.numpy()].tolist()
        masked = rows.take(torch.arange(len(rows)) % 3 == 0)
        assert masked.source.texts[:, 0].tolist() == said[masked.ids.numpy()].tolist()


def test_an_array_of_numbers_is_compared_as_it_is():
    raw = RawData(np.random.default_rng(0).normal(size=(200, 3)), np.arange(200) % 2, ("a", "b"))
    assert source_rows(raw, np.arange(10)) is None
    assert halved(raw, seed=0).members.source is None


def test_rows_and_their_source_are_equally_many():
    source = SourceRows.of_texts([["a", "b"]])
    with pytest.raises(DataError, match="3 inputs and 2 source rows"):
        Rows(torch.zeros(3, 1), torch.zeros(3, dtype=torch.long), torch.arange(3), source)
    with pytest.raises(DataError, match="2 rows of numbers, 1 of texts"):
        SourceRows(torch.zeros(2, 1), np.array([["a"]], dtype=object))


def test_dates_keep_their_digits():
    """Two groups that differ by a second of the day, counted from 1970."""
    seconds = torch.from_numpy(np.random.default_rng(0).integers(0, 60, 800) + 1.7e9)
    late = torch.arange(800) < 400
    numbers = (seconds + 30.0 * late)[:, None]
    texts = np.empty((800, 0), dtype=object)
    rows = Rows(
        torch.zeros(800, 0),
        torch.zeros(800, dtype=torch.long),
        torch.arange(800),
        SourceRows(numbers, texts),
    )
    assert blind(Pool(rows.take(late), rows.take(~late))).alarm
