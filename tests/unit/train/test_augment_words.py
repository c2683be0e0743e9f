"""Words are dropped, masked or moved, and nothing else in a row changes."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress.config import TrainConfig
from safecompress.errors import ConfigError
from safecompress.models.words import Words
from safecompress.protocols import Rows
from safecompress.train.augment_words import WORD_CHANGES, change_words
from safecompress.train.batches import Batches

PAD, START, SEPARATOR, MASK, FIRST = 0, 2, 3, 4, 5
WORDS = Words(pad=PAD, special=(PAD, START, SEPARATOR, MASK), mask=MASK)
KINDS = sorted(WORD_CHANGES)


def rows_of(lengths: list[int], seed: int) -> torch.Tensor:
    """Return rows of words, each word another, between the tokens that begin and end a text."""
    draw = torch.Generator().manual_seed(seed)
    length = max(lengths) + 2
    rows = []
    for size in lengths:
        words = (FIRST + torch.randperm(50, generator=draw)[:size]).tolist()
        rows.append([START, *words, SEPARATOR] + [PAD] * (length - size - 2))
    return torch.tensor(rows)


def changed(ids: torch.Tensor, kind: str, share: float, seed: int = 0) -> torch.Tensor:
    config = TrainConfig(augment=kind, augment_share=share)
    return change_words(ids, config, WORDS, torch.Generator().manual_seed(seed))


def words(row: list[int]) -> list[int]:
    return [i for i in row if i >= FIRST]


@pytest.mark.parametrize("kind", KINDS)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
@settings(max_examples=40)
def test_only_words_change(kind, lengths, share, seed):
    ids = rows_of(lengths, seed)
    before = ids.clone()
    after = changed(ids, kind, share, seed)
    assert torch.equal(ids, before)
    assert after.shape == ids.shape
    assert after.dtype == torch.int64
    for old, new in zip(ids.tolist(), after.tolist(), strict=True):
        assert new[0] == START
        used = [i for i in new if i != PAD]
        assert new == used + [PAD] * (len(new) - len(used))
        assert used[-1] == SEPARATOR
        assert used.count(SEPARATOR) == 1
        if kind == "drop-words":
            kept = iter(words(old))
            assert words(new)
            assert all(word in kept for word in words(new))
        elif kind == "mask-words":
            for one, other in zip(old, new, strict=True):
                assert other == one or (one >= FIRST and other == MASK)
        else:
            assert Counter(old) == Counter(new)


@pytest.mark.parametrize("kind", KINDS)
def test_the_share_is_that_of_the_words(kind):
    ids = rows_of([40] * 200, seed=1)
    for share in (0.0, 0.1, 0.5):
        after = changed(ids, kind, share)
        if kind == "drop-words":
            found = 1 - (after >= FIRST).sum().item() / (ids >= FIRST).sum().item()
        else:
            found = (after != ids).sum().item() / (ids >= FIRST).sum().item()
        # A word that is moved to its own place, once among as many as are moved, does not count.
        missing = 1 / 40 if kind == "swap-words" and share else 0.0
        assert found == pytest.approx(share, abs=0.01 + missing)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_change_words_anew_in_each_step_and_the_same_in_a_second_run(kind):
    ids = rows_of([10] * 20, seed=2)
    rows = Rows(ids, torch.arange(20) % 2, torch.arange(20))
    config = TrainConfig(augment=kind, augment_share=0.5, batch_size=20, epochs=2)

    def batches(words=WORDS, of=rows):
        return Batches(of, config, seed=0, stage="s", device=torch.device("cpu"), words=words)

    def inputs(step):
        found = batches().at(step, memory_format=torch.contiguous_format)
        return found.inputs[found.index.argsort()]

    assert torch.equal(inputs(0), inputs(0))
    assert not torch.equal(inputs(0), inputs(1))
    assert not torch.equal(inputs(0), ids)
    with pytest.raises(ConfigError, match="needs texts"):
        batches(words=None)
    real = Rows(ids.float(), rows.labels, rows.ids)
    with pytest.raises(ConfigError, match="needs texts"):
        batches(of=real)
    if kind == "mask-words":
        with pytest.raises(ConfigError, match="needs a token for hidden words"):
            batches(words=Words(PAD, WORDS.special))
