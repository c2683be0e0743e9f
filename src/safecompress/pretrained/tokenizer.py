"""`TextTokenizer`, `longest_text`: texts as token ids, by the tokenizer of a local folder."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safecompress.errors import DataError, ModelError, brief, taming_panics
from safecompress.pretrained.folder import check_tokenizer, quiet, transformers

_MOST_TOKENS = 512
"""Longest text in tokens where neither the tokenizer nor the model sets a limit."""
_SHOWN = 3

Ids = NDArray[np.int64]


def longest_text(tokenizer: Any, config: Any = None) -> int:
    """Return the largest number of tokens of a text that a tokenizer and a model take.

    Args:
        tokenizer: a tokenizer of transformers.
        config: settings of the model; None asks the tokenizer alone.
    """
    places = _count(getattr(config, "max_position_embeddings", None))
    if places is not None and "roberta" in str(config.model_type):
        # RoBERTa numbers tokens from pad_token_id + 1, so the positions before hold no token.
        places -= (_count(config.pad_token_id) or 0) + 1
    limits = [n for n in (_count(tokenizer.model_max_length), places) if n and 0 < n < 1 << 20]
    return min(limits, default=_MOST_TOKENS)


def _count(value: Any) -> int | None:
    """Return a number that a folder's settings may hold; None for whatever else they hold."""
    usable = isinstance(value, int | float) and math.isfinite(value)
    return int(value) if usable else None


@dataclass(frozen=True)
class TextTokenizer:
    """The tokenizer of a local folder; the same folder gives the same token ids.

    Args:
        folder: a folder as `save_pretrained` writes it, with `tokenizer.json` or another file of a
            vocabulary. A model's own folder will do.

    Raises:
        ConfigError: when transformers is not installed.
        ModelError: when the folder holds no tokenizer, one that cannot be read, or one without a
            padding token.
    """

    folder: Path

    def __post_init__(self) -> None:
        if not isinstance(self.pad, int):
            raise ModelError(
                f"{self.folder}: its tokenizer has no padding token, so texts cannot be asked "
                "together; set tokenizer.pad_token and save it again."
            )

    @cached_property
    def _tokenizer(self) -> Any:
        check_tokenizer(self.folder)
        library = transformers(self.folder)
        with quiet():
            try:
                with taming_panics():
                    return library.AutoTokenizer.from_pretrained(
                        str(self.folder), local_files_only=True, trust_remote_code=False
                    )
            except Exception as error:
                raise ModelError(
                    f"{self.folder}: its tokenizer cannot be read: {brief(error)}"
                ) from error

    @property
    def pad(self) -> int:
        """Id of the token that fills up short rows."""
        return self._tokenizer.pad_token_id  # type: ignore[no-any-return]

    @property
    def separator(self) -> int | None:
        """Id of the token after each text; None for a tokenizer that has none."""
        found = self._tokenizer.sep_token_id
        return None if found is None else int(found)

    @property
    def mask(self) -> int | None:
        """Id of the token that stands for a hidden word; None for a tokenizer that has none."""
        found = self._tokenizer.mask_token_id
        return None if found is None else int(found)

    @property
    def vocabulary(self) -> int:
        """Number of tokens: every id is below."""
        return len(self._tokenizer)

    @property
    def special(self) -> tuple[int, ...]:
        """Ids that stand for no words, such as the separator; the unknown word is not among them.

        Ascending.
        """
        unknown = {self._tokenizer.unk_token_id}
        return tuple(sorted({int(i) for i in self._tokenizer.all_special_ids} - unknown))

    @property
    def longest(self) -> int:
        """Most tokens of a row that the tokenizer was made for."""
        return longest_text(self._tokenizer)

    def longest_for(self, config: Any) -> int:
        """Return the most tokens of a row that a model takes.

        Args:
            config: the model's settings.
        """
        return longest_text(self._tokenizer, config)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the names and contents of the files that the tokenizer is read from."""
        total = hashlib.sha256()
        for file in check_tokenizer(self.folder):
            total.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            total.update(file.read_bytes())
        return total.hexdigest()

    def encode(self, columns: Sequence[Sequence[str]], *, longest: int) -> Ids:
        """Return the token ids of texts, or of pairs of texts.

        Rows start with the first token and are filled up with `pad` behind the last one. Text that
        looks like a special token, such as "[SEP]", is text.

        Args:
            columns: one list of n texts, or two.
            longest: rows are cut to this many tokens, those between texts included; of a pair the
                longer text is cut first.

        Returns:
            int64 (n, length), length being that of the longest row; at least 1.

        Raises:
            DataError: when the ids cannot tell a model what the tokenizer meant.
        """
        try:
            with quiet(), taming_panics():
                found = self._tokenizer(
                    *(list(column) for column in columns),
                    truncation="longest_first",
                    max_length=longest,
                    split_special_tokens=True,
                    return_attention_mask=False,
                )
        except Exception as error:
            raise DataError(f"{self.folder}: its tokenizer failed: {brief(error)}") from error
        rows = found["input_ids"]
        ids = np.full((len(rows), max(map(len, rows), default=1) or 1), self.pad, dtype=np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
        lengths = np.array([len(row) for row in rows])
        # The model tells padding by its id, so no other place of a row may hold it.
        self._require((ids != self.pad).sum(axis=1) == lengths, "hold the padding token")
        if "token_type_ids" in found and len(columns) > 1:
            types = [sum(row) for row in found["token_type_ids"]]
            self._require(
                second_text(ids, pad=self.pad, separator=self.separator).sum(axis=1) == types,
                "are no two texts with a separator token after each",
            )
        return ids

    def _require(self, holds: NDArray[np.bool_], what: str) -> None:
        bad = np.flatnonzero(~holds)
        if len(bad):
            shown = ", ".join(map(str, bad[:_SHOWN].tolist()))
            raise DataError(
                f"{self.folder}: the tokens of {len(bad)} rows {what} (first: {shown}); such rows "
                "cannot be told to a model by their ids alone, so drop them, or take a tokenizer "
                "of another kind."
            )


def second_text(ids: Ids, *, pad: int, separator: int | None) -> NDArray[np.bool_]:
    """Return which tokens belong to the second text of a pair, bool (n, length).

    Args:
        ids: token ids (n, length).
        pad: id of the padding.
        separator: id of the token after each text; None for none.
    """
    is_separator: NDArray[np.bool_] = np.equal(ids, -1 if separator is None else separator)
    before: Ids = np.cumsum(is_separator, axis=1) - is_separator
    found: NDArray[np.bool_] = (before > 0) & (ids != pad)
    return found
