"""`Words`, `declare_words_`, `words_of`: which token ids of a run's rows stand for words."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

_DECLARED = "_safecompress_words"


@dataclass(frozen=True)
class Words:
    """What a tokenizer's ids mean; every id that is not special is a word, or a piece of one.

    Args:
        pad: id of the padding.
        special: ids that stand for no words, the padding among them.
        mask: id that stands for a hidden word; None where the tokenizer has none.
    """

    pad: int
    special: tuple[int, ...]
    mask: int | None = None


def declare_words_(module: nn.Module, words: Words) -> None:
    """Let a module, and copies of it, say what the token ids that it is trained on mean.

    Args:
        module: the module.
        words: what they mean.
    """
    setattr(module, _DECLARED, words)


def words_of(module: nn.Module) -> Words | None:
    """Return what the token ids that a module is trained on mean; None where nobody said.

    Args:
        module: any module.
    """
    found = getattr(module, _DECLARED, None)
    return found if isinstance(found, Words) else None
