"""`TextEncoder` and `cut`: text as weighted counts of words.

The encoder's state is plain values, from which it is restored without learning anything again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from safecompress.config import PreprocessingConfig, Section
from safecompress.data.raw import Array
from safecompress.errors import DataError


def cut(text: str, max_words: int | None) -> str:
    """Return the first words of a text, separated by single blanks.

    Args:
        text: the text.
        max_words: number of words that are kept; None returns the text unchanged.

    >>> cut("a  b c", 2)
    'a b'
    """
    return text if max_words is None else " ".join(text.split(maxsplit=max_words)[:max_words])


class TextEncoder(Section):
    """Words and word runs of one text column, lower-cased, counted as scikit-learn counts them.

    Args:
        name: the column's name.
        terms: the vocabulary, words or runs of words, in the order of the features.
        idf: weight per term, ln((1 + n) / (1 + df)) + 1 over the members; only for `tfidf`, whose
            rows are then scaled to Euclidean length 1.
        ngrams: longest run of words that counts as one term.
        weighting: `count`, `binary` or `tfidf`.
        max_words: a text is cut after this many words.
    """

    kind: Literal["text"] = "text"
    name: str
    terms: tuple[str, ...]
    idf: tuple[float, ...] | None
    ngrams: int
    weighting: Literal["count", "binary", "tfidf"]
    max_words: int | None

    @classmethod
    def fit(cls, name: str, values: Array, config: PreprocessingConfig) -> TextEncoder:
        """Learn the most frequent terms of the members' texts.

        Args:
            name: the column's name.
            values: strings (n,), the members' texts.
            config: its `vocabulary`, `ngrams`, `weighting` and `max_words` are read. Of equally
                frequent terms the first in alphabetical order are kept.

        Raises:
            DataError: when the texts hold no word of two or more characters.
        """
        from sklearn.feature_extraction.text import CountVectorizer

        texts = _cut_all(values, config.max_words)
        vectorizer = CountVectorizer(ngram_range=(1, config.ngrams))
        try:
            counts = vectorizer.fit_transform(texts)
        except ValueError as error:
            raise DataError(
                f"column '{name}': the members' texts hold no word of two or more characters; "
                "list the column as categorical or drop it."
            ) from error
        totals = np.asarray(counts.sum(axis=0)).ravel()
        # The terms are in alphabetical order, and a stable sort keeps equally frequent ones so.
        kept = np.sort(np.argsort(-totals, kind="stable")[: config.vocabulary])
        terms = vectorizer.get_feature_names_out()[kept]
        idf = None
        if config.weighting == "tfidf":
            frequency = np.bincount(counts.indices, minlength=counts.shape[1])[kept]
            idf = tuple((np.log((1 + len(texts)) / (1 + frequency)) + 1).tolist())
        return cls(
            name=name,
            terms=tuple(str(term) for term in terms),
            idf=idf,
            ngrams=config.ngrams,
            weighting=config.weighting,
            max_words=config.max_words,
        )

    @property
    def width(self) -> int:
        """Number of features."""
        return len(self.terms)

    def encode(self, values: Array) -> NDArray[np.float32]:
        """Return features, float32 (n, width); words outside the vocabulary are ignored.

        Args:
            values: strings (n,).
        """
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.preprocessing import normalize

        if len(values) == 0:
            return np.zeros((0, self.width), dtype=np.float32)
        vectorizer = CountVectorizer(
            vocabulary={term: i for i, term in enumerate(self.terms)},
            ngram_range=(1, self.ngrams),
            binary=self.weighting == "binary",
            dtype=np.float64,
        )
        counts: Any = vectorizer.transform(_cut_all(values, self.max_words))
        if self.idf is not None:
            counts.data *= np.asarray(self.idf)[counts.indices]
            counts = normalize(counts, norm="l2", copy=False)
        return np.asarray(counts.astype(np.float32).toarray(), dtype=np.float32)


def _cut_all(values: Iterable[str], max_words: int | None) -> list[str]:
    return [cut(str(text), max_words) for text in values]
