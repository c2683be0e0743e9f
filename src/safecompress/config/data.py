"""Sections of the data: where rows come from, who is a member, how rows become tensors."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from safecompress.config.section import InputFile, Section, Share


class NpzSource(Section):
    """Arrays in an `.npz`: one pair, or a train and a test pair. Pickled arrays are refused.

    The test pair is `test_x` and `test_y` of the same file, or a file of its own: `test_path`.
    """

    source: Literal["npz"]
    path: InputFile
    test_path: InputFile | None = None
    x: str = "x"
    y: str = "y"
    test_x: str | None = None
    test_y: str | None = None


class CsvSource(Section):
    """A CSV with a header, or a train and a test file.

    Columns not listed are inferred: all numbers → numeric; few distinct values → categorical;
    otherwise text.
    """

    source: Literal["csv"]
    path: InputFile
    test_path: InputFile | None = None
    label: str = "label"
    numeric: tuple[str, ...] | None = None
    categorical: tuple[str, ...] | None = None
    text: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    delimiter: str = ","


class SklearnSource(Section):
    """A data set or generator of scikit-learn: `digits`, `breast_cancer`, and more."""

    source: Literal["sklearn"]
    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class TorchSource(Section):
    """A callable `package.module:function` that returns a torch Dataset or a (train, test) pair."""

    source: Literal["torch"]
    factory: str
    options: dict[str, Any] = Field(default_factory=dict)


Source: TypeAlias = Annotated[
    NpzSource | CsvSource | SklearnSource | TorchSource, Field(discriminator="source")
]


class SplitConfig(Section):
    """Who is a member, and which held-out rows steer and which judge.

    Args:
        membership: `fresh` (we train from nothing and draw the members), `pair` (the train part of
            a train/test source are the members), `index` (listed in `members_file`), `unseen`
            (the given weights saw none of this data). Must be stated when weights are given.
        members_file: `.npy`, `.txt` or `.csv` of row indices, one per line, for `index`.
        members: rows to draw as members, a count or a share of all rows; for `fresh` and `unseen`.
        steer: share of non-members, and of members, that steer the loop; the rest is sealed.
        reference: rows held out for defenses that need non-members, a count or a share of the
            non-members; never judged.
        rows: use at most this many rows of the source, drawn with the seed.
        deduplicate: drop rows whose inputs are exact duplicates across groups instead of failing.
    """

    membership: Literal["fresh", "pair", "index", "unseen"] | None = None
    members_file: InputFile | None = None
    members: Annotated[int, Field(gt=1)] | Share = 0.5
    steer: Share = 0.5
    reference: Annotated[int, Field(ge=0)] | Share = 0
    rows: Annotated[int, Field(gt=3)] | None = None
    deduplicate: bool = True


class PreprocessingConfig(Section):
    """How raw rows become tensors; everything learned is learned on members only.

    Args:
        features: numeric features and columns: `auto` (leave 0/1 data alone, otherwise
            standardize; with given weights, `none`), `none`, `standardize`.
        layout: `auto` (4-D uint8 arrays are images), `table`, `image` (N×H×W×C or N×C×H×W).
        vocabulary: most words or word pairs to keep for a text column.
        ngrams: longest run of words that counts as one feature.
        weighting: `count`, `binary` or `tfidf`.
        max_words: a text is cut after this many words; duplicates are sought after the cut.
    """

    features: Literal["auto", "none", "standardize"] = "auto"
    layout: Literal["auto", "table", "image"] = "auto"
    vocabulary: Annotated[int, Field(gt=0)] = 5000
    ngrams: Annotated[int, Field(ge=1, le=3)] = 1
    weighting: Literal["count", "binary", "tfidf"] = "tfidf"
    max_words: Annotated[int, Field(gt=0)] | None = None


class DataConfig(Section):
    """Where rows come from, how they are split and made into tensors."""

    source: Source
    split: SplitConfig = SplitConfig()
    preprocessing: PreprocessingConfig = PreprocessingConfig()

    @model_validator(mode="after")
    def _membership_fits_source(self) -> DataConfig:
        membership, split = self.split.membership, self.split
        paired = (
            (isinstance(self.source, NpzSource | CsvSource) and self.source.test_path is not None)
            or (isinstance(self.source, NpzSource) and self.source.test_x is not None)
            or isinstance(self.source, TorchSource)
        )
        if membership == "pair" and not paired:
            raise ValueError(
                "split.membership is 'pair' but the source has one part; name its test part "
                "(test_path, or test_x and test_y) or declare membership another way"
            )
        if (membership == "index") != (split.members_file is not None):
            raise ValueError("split.members_file goes with split.membership 'index', and only then")
        return self
