"""`DataConfig` and its parts: where rows come from, who is a member, how rows become tensors."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from safecompress.config.section import InputFile, Section, Share


class NpzSource(Section):
    """Arrays in an `.npz`: one pair, or a train and a test pair. Pickled arrays are refused.

    The test pair is `test_x` and `test_y` of the same file, or a file of its own: `test_path`.
    """

    source: Literal["npz"] = Field(description="Says that the rows are arrays in an `.npz`.")
    path: InputFile = Field(
        description="File of the rows, or of their train part. A relative path starts at the "
        "current folder."
    )
    test_path: InputFile | None = Field(
        default=None,
        description="File of the test part, where it is not in `path`. Left out, there is none "
        "unless `test_x` and `test_y` name one.",
    )
    x: str = Field(
        default="x",
        description="Name of the array of inputs, whose first dimension counts the rows.",
    )
    y: str = Field(
        default="y", description="Name of the array of labels: class indices or class names."
    )
    test_x: str | None = Field(
        default=None,
        description="Name of the test part's inputs. Left out, it is that of `x` in `test_path`, "
        "and without a `test_path` there is no test part.",
    )
    test_y: str | None = Field(
        default=None,
        description="Name of the test part's labels; it goes with `test_x` where both are in one "
        "file. Left out, it is that of `y` in `test_path`.",
    )


class CsvSource(Section):
    """A CSV with a header, or a train and a test file.

    Columns not listed are inferred: all numbers → numeric; few distinct values → categorical;
    otherwise text.
    """

    source: Literal["csv"] = Field(description="Says that the rows are lines of a CSV file.")
    path: InputFile = Field(
        description="File of the rows, or of their train part, in UTF-8 with a header. A relative "
        "path starts at the current folder."
    )
    test_path: InputFile | None = Field(
        default=None,
        description="File of the test part, with the same columns. Left out, there is none.",
    )
    label: str = Field(
        default="label",
        description="Column to predict. Plain integers from 0 are class indices; anything else is "
        "a class name.",
    )
    numeric: tuple[str, ...] | None = Field(
        default=None,
        description="Columns of numbers; an empty cell is a missing number. Left out, every column "
        "that holds numbers alone is one; list a column where its kind is inferred wrongly.",
    )
    categorical: tuple[str, ...] | None = Field(
        default=None,
        description="Columns whose every distinct value is a category. Left out, columns of few "
        "distinct values are; list codes that look like numbers, such as postal codes.",
    )
    text: tuple[str, ...] | None = Field(
        default=None,
        description="Columns of running text, from which words are counted. Left out, columns of "
        "many distinct values are; list a column that is refused as an identifier but is text.",
    )
    drop: tuple[str, ...] = Field(
        default=(),
        description="Columns that are not used. Names and numbers that identify a row belong "
        "here, because they would mark the members.",
    )
    delimiter: str = Field(default=",", description="The one character between two values.")


class SklearnSource(Section):
    """A data set or generator of scikit-learn: `digits`, `breast_cancer`, and more."""

    source: Literal["sklearn"] = Field(
        description="Says that the rows come with scikit-learn; nothing is downloaded."
    )
    name: str = Field(
        description="Data set (`breast_cancer`, `digits`, `iris`, `wine`) or generator "
        "(`make_blobs`, `make_circles`, `make_classification`, `make_gaussian_quantiles`, "
        "`make_moons`)."
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Keyword arguments of scikit-learn's function, such as `{n_samples: 2000}`. "
        "A generator without `random_state` takes it from the run's seed.",
    )


class TorchSource(Section):
    """A callable `package.module:function` that returns a torch Dataset or a (train, test) pair."""

    source: Literal["torch"] = Field(
        description="Says that the rows come from a function of your own."
    )
    factory: str = Field(
        description="Import path `package.module:function` of the function; modules of the current "
        "folder can be named. It returns a map-style Dataset of (input, label), or a pair of a "
        "train and a test part."
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Keyword arguments that the function is called with. Empty calls it without "
        "any.",
    )


Source: TypeAlias = Annotated[
    NpzSource | CsvSource | SklearnSource | TorchSource, Field(discriminator="source")
]


class SplitConfig(Section):
    """Who is a member, and which held-out rows steer and which judge."""

    membership: Literal["fresh", "pair", "index", "unseen"] | None = Field(
        default=None,
        description="Which rows the model was, or will be, trained on: `fresh` (training starts "
        "from nothing and the members are drawn), `pair` (the train part of a train/test source), "
        "`index` (the rows listed in `members_file`), `unseen` (the given weights saw none of "
        "these rows, and members are drawn to fine-tune on). Left out, it is `fresh`; with given "
        "weights it must be stated, and cannot be `fresh`.",
    )
    members_file: InputFile | None = Field(
        default=None,
        description="File of the members' row numbers, counted from 0: `.npy`, or `.txt` or "
        "`.csv` with one a line. It goes with `membership: index` and is left out otherwise.",
    )
    members: Annotated[int, Field(gt=1)] | Share = Field(
        default=0.5,
        description="How many rows are drawn as members: a whole number is a count, a fraction a "
        "share of all rows. Used by `fresh` and `unseen`. Fewer members leave more non-members to "
        "judge by.",
    )
    steer: Share = Field(
        default=0.5,
        description="Share of the members, and of the non-members, on which candidates are "
        "compared in the loop. The rest is sealed for the verdict; lower it where the verdict is "
        "inconclusive.",
    )
    reference: Annotated[int, Field(ge=0)] | Share = Field(
        default=0,
        description="Non-members set aside for defenses that need some, never judged: a whole "
        "number is a count, a fraction a share of the non-members. 0 sets none aside.",
    )
    rows: Annotated[int, Field(gt=3)] | None = Field(
        default=None,
        description="Most rows of the source that are used, drawn with the seed. Left out, all "
        "are; set it for a quick try of a large data set.",
    )
    deduplicate: bool = Field(
        default=True,
        description="Whether rows whose inputs are equal are dropped so that no two groups share "
        "one. False fails instead where groups share inputs.",
    )


class PreprocessingConfig(Section):
    """How raw rows become tensors; everything learned is learned on members only."""

    features: Literal["auto", "none", "standardize"] = Field(
        default="auto",
        description="What is done to numbers: `standardize` gives them mean 0 and standard "
        "deviation 1 over the members, `none` leaves them alone. `auto` leaves data of 0 and 1 "
        "alone and standardizes the rest; with given weights it leaves all alone.",
    )
    layout: Literal["auto", "table", "image"] = Field(
        default="auto",
        description="Whether an array is a `table` of features or holds an `image` a row (N×H×W×C "
        "or N×C×H×W). `auto` takes four-dimensional uint8 arrays for images; name it where that "
        "is wrong.",
    )
    vocabulary: int = Field(
        default=5000,
        gt=0,
        description="Most words, or runs of words, that are kept for each text column: the most "
        "frequent among the members.",
    )
    ngrams: int = Field(
        default=1,
        ge=1,
        le=3,
        description="Longest run of words that counts as one feature: 1 counts single words, 2 "
        "also pairs, 3 also triples.",
    )
    weighting: Literal["count", "binary", "tfidf"] = Field(
        default="tfidf",
        description="What a word's feature holds: how often the text has it (`count`), whether it "
        "does (`binary`), or the count weighted by how rare the word is among the members, each "
        "text scaled to length 1 (`tfidf`).",
    )
    max_words: Annotated[int, Field(gt=0)] | None = Field(
        default=None,
        description="Number of words after which a text is cut, before duplicates are sought. "
        "Left out, texts stay whole; set it where a few long ones slow training.",
    )


class DataConfig(Section):
    """Where rows come from, how they are split and made into tensors."""

    source: Source = Field(description="Where the rows are: the kind of source, and its options.")
    split: SplitConfig = Field(
        default=SplitConfig(),
        description="Which rows are members, which steer the loop and which are sealed for the "
        "verdict.",
    )
    preprocessing: PreprocessingConfig = Field(
        default=PreprocessingConfig(),
        description="How rows become tensors; what is learned for it is learned on members only.",
    )

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
