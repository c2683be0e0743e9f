"""`change_words`, `require_words`: words of texts dropped, masked or moved, by their token ids."""

from __future__ import annotations

import torch
from torch import Tensor

from safecompress.config import TrainConfig
from safecompress.errors import ConfigError
from safecompress.models.words import Words
from safecompress.protocols import Inputs

WORD_CHANGES = frozenset({"drop-words", "mask-words", "swap-words"})
"""The values of `train.augment` that change words."""


def require_words(inputs: Inputs, words: Words | None, config: TrainConfig) -> None:
    """Raise ConfigError unless the rows are token ids that `config.augment` can change.

    Args:
        inputs: the rows trained on.
        words: what their ids mean; None where nobody said.
        config: how rows are changed.
    """
    if words is None or not isinstance(inputs, Tensor) or inputs.is_floating_point():
        raise ConfigError(
            f"train.augment: {config.augment} needs texts that a tokenizer cut into tokens; name "
            "one (data.preprocessing.tokenizer), or set augment: none."
        )
    if config.augment == "mask-words" and words.mask is None:
        raise ConfigError(
            "train.augment: mask-words needs a token for hidden words, which the tokenizer does "
            "not have; take drop-words or swap-words."
        )


def change_words(
    ids: Tensor, config: TrainConfig, words: Words, generator: torch.Generator
) -> Tensor:
    """Return token ids of which every word is dropped, masked or moved with some probability.

    `mask-words` puts the token of hidden words in the place of a word. `drop-words` takes words
    away, and the following ones move up; a text keeps at least one word. `swap-words` lets the
    chosen words of a text exchange their places at random. Special tokens and padding are never
    chosen.

    Args:
        ids: int64 (n, length).
        config: its `augment` and `augment_share` are read.
        words: what ids mean.
        generator: CPU generator of all draws, so that devices draw the same.

    Returns:
        int64 (n, length).

    References: Iyyer et al., ACL 2015, section 3.1 (words dropped); Wei and Zou, EMNLP 2019,
        section 2 (random deletion, random swap); Devlin et al., NAACL 2019, section 3.1 (masks).
    """
    device, ids = ids.device, ids.cpu()
    special = torch.tensor(sorted({*words.special, words.pad}))
    is_word = ~torch.isin(ids, special)
    drawn = torch.rand(ids.shape, generator=generator)
    chosen = is_word & (drawn < config.augment_share)
    if config.augment == "mask-words":
        changed = ids.masked_fill(chosen, words.pad if words.mask is None else words.mask)
    elif config.augment == "drop-words":
        changed = _dropped(ids, chosen, is_word, pad=words.pad)
    else:
        changed = _swapped(ids, chosen, torch.rand(ids.shape, generator=generator))
    return changed.to(device)


def _dropped(ids: Tensor, chosen: Tensor, is_word: Tensor, *, pad: int) -> Tensor:
    # A text that would lose all of its words keeps them.
    chosen = chosen & ((is_word & ~chosen).any(dim=1, keepdim=True))
    order = chosen.int().argsort(dim=1, stable=True)
    kept = ids.gather(1, order)
    lost = chosen.sum(dim=1, keepdim=True)
    return kept.masked_fill(torch.arange(ids.shape[1]) >= ids.shape[1] - lost, pad)


def _swapped(ids: Tensor, chosen: Tensor, drawn: Tensor) -> Tensor:
    # The chosen places come first, once in their order and once in a random one; the others follow
    # in their order both times and so stay where they are.
    places = (~chosen).int().argsort(dim=1, stable=True)
    rank = drawn.masked_fill(~chosen, 2.0)
    sources = rank.argsort(dim=1, stable=True)
    return torch.empty_like(ids).scatter_(1, places, ids.gather(1, sources))
