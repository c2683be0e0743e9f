"""`TokenEncoder`, `tokenized`, `texts_of`: texts as one array of token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from safecompress.config import PreprocessingConfig, Section
from safecompress.data.encoders import check_shape
from safecompress.data.raw import Array, Column, RawData
from safecompress.errors import DataError
from safecompress.pretrained import TextTokenizer


class TokenEncoder(Section):
    """Texts, or pairs of texts, as token ids; nothing in it is learned from rows.

    The tokenizer itself stays in its folder, and must be the same when new rows are encoded.

    Args:
        tokenizer: the tokenizer's folder.
        digest: SHA-256 of its files.
        columns: names of the one or two columns of text, in the order in which they are read.
        length: tokens of a row, padding included.
        longest: most tokens of a row before padding.
        pad: id of the padding.
        separator: id of the token after each text; None where there is none.
        special: ids that stand for no words.
        mask: id that stands for a hidden word; None where there is none.
        vocabulary: number of tokens.
    """

    kind: Literal["tokens"] = "tokens"
    tokenizer: Path
    digest: str
    columns: tuple[str, ...]
    length: int
    longest: int
    pad: int
    separator: int | None
    special: tuple[int, ...]
    mask: int | None
    vocabulary: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row of token ids before it is encoded."""
        return (self.length,)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one encoded row."""
        return (self.length,)

    def encode(self, x: Array, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return some rows of token ids, int64 (len(rows), length).

        Args:
            x: token ids of all rows, as `tokenized` made them.
            rows: int64, indices of the rows.

        Raises:
            DataError: when rows have another length.
        """
        check_shape(x, (self.length,))
        return np.asarray(x[rows], dtype=np.int64)

    def ids(self, columns: Sequence[Sequence[str]]) -> NDArray[np.int64]:
        """Return new texts as token ids, int64 (n, length), longer ones cut.

        Args:
            columns: the texts of each column, n each.

        Raises:
            DataError: when the folder holds another tokenizer by now.
            ModelError: when it holds none.
        """
        tokenizer = TextTokenizer(self.tokenizer)
        if tokenizer.digest != self.digest:
            raise DataError(
                f"{self.tokenizer}: its tokenizer is not the one that the model was trained with; "
                "put that one back."
            )
        found = tokenizer.encode(columns, longest=min(self.length, self.longest))
        out = np.full((len(found), self.length), self.pad, dtype=np.int64)
        out[:, : found.shape[1]] = found
        return out


def texts_of(raw: RawData, listed: Sequence[str]) -> list[Column]:
    """Return a source's column of texts, or the two of a pair in the order of a configuration.

    Args:
        raw: the source's rows.
        listed: columns of text that the configuration lists; empty where it lists none.

    Raises:
        DataError: when there is not one column of text, or two that are listed.
    """
    table = raw.columns if isinstance(raw.columns, tuple) else ()
    present = {column.name: column for column in table if column.kind == "text"}
    names = list(listed or present)
    if len(names) not in ({1, 2} if listed else {1}):
        raise DataError(
            f"{raw.where}: {len(names)} columns of text ({', '.join(names)[:200] or 'none'}); "
            "a model of texts takes one, or two as a pair: list it under data.source.text (--text)."
        )
    return [present[name] for name in names]


def tokenized(
    raw: RawData, config: PreprocessingConfig, *, listed: Sequence[str]
) -> tuple[RawData, TokenEncoder]:
    """Return rows of token ids for rows of texts, and what encodes new ones alike.

    Args:
        raw: the source's rows, a table of texts.
        config: names the tokenizer and the longest row.
        listed: columns of text that the configuration lists.

    Raises:
        ConfigError: when transformers is not installed.
        DataError: when there are other columns than texts, or texts that ids cannot stand for.
        ModelError: when there is no such tokenizer.
    """
    if config.tokenizer is None:
        raise DataError(f"{raw.where}: no tokenizer is named (data.preprocessing.tokenizer).")
    texts = texts_of(raw, listed)
    table = raw.columns if isinstance(raw.columns, tuple) else ()
    if others := [c.name for c in table if c.name not in {t.name for t in texts}]:
        raise DataError(
            f"{raw.where}: with a tokenizer the texts are all that a model reads, and there are "
            f"other columns ({', '.join(others)[:200]}); list them under data.source.drop."
        )
    tokenizer = TextTokenizer(config.tokenizer)
    longest = config.max_length or tokenizer.longest
    ids = tokenizer.encode([[str(v) for v in t.values] for t in texts], longest=longest)
    encoder = TokenEncoder(
        tokenizer=config.tokenizer,
        digest=tokenizer.digest,
        columns=tuple(t.name for t in texts),
        length=ids.shape[1],
        longest=longest,
        pad=tokenizer.pad,
        separator=tokenizer.separator if len(texts) > 1 else None,
        special=tokenizer.special,
        mask=tokenizer.mask,
        vocabulary=tokenizer.vocabulary,
    )
    return replace(raw, columns=ids), encoder


def new_texts(encoder: TokenEncoder, rows: Any) -> NDArray[np.int64]:
    """Return new rows of texts as token ids, int64 (n, length).

    Args:
        encoder: encodes them.
        rows: the columns by name, a mapping or a data frame; of one column also the list of texts.

    Raises:
        DataError: when a column is missing, columns differ in length, or an entry is no text.
    """
    if isinstance(rows, list | np.ndarray) and len(encoder.columns) == 1:
        rows = {encoder.columns[0]: rows}
    columns = []
    for name in encoder.columns:
        try:
            columns.append(list(rows[name]))
        except (KeyError, TypeError, IndexError) as error:
            raise DataError(
                f"new rows: no column '{name}'; expected columns {', '.join(encoder.columns)}."
            ) from error
    if len({len(column) for column in columns}) > 1:
        raise DataError("new rows: columns of different lengths.")
    for column in columns:
        if wrong := [type(text).__name__ for text in column if not isinstance(text, str)]:
            raise DataError(f"new rows: {len(wrong)} entries are no texts (first: {wrong[0]}).")
    return encoder.ids(columns)
