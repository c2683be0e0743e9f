"""`DataConfig` and its sections: the source of the rows, their splits and their preprocessing."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from safecompress.config.section import InputFile, Section, Share
from safecompress.config.sources import Source


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
        "deviation 1 over the members, `none` leaves them alone; whole numbers in an array then "
        "reach the model as int64, for embeddings. `auto` leaves data of 0 and 1 "
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
    tokenizer: InputFile | None = Field(
        default=None,
        description="Local folder of a Hugging Face tokenizer, which turns a text, or a pair of "
        "texts, into token ids for a model that reads them in order. Left out, words are counted.",
    )
    max_length: Annotated[int, Field(gt=2)] | None = Field(
        default=None,
        description="Most tokens of a row, after which it is cut, before duplicates are sought; "
        "all rows are filled up to the longest. Left out, it is the tokenizer's own limit; set "
        "it where a few long texts slow training. It goes with `tokenizer`.",
    )

    scratch: InputFile | None = Field(
        default=None,
        description="Folder for the encoded rows of a source that is read from disk as it is "
        "needed (`npy`); they take as much room there as in memory, and the file is gone when the "
        "process ends. Left out, it is the system's folder for temporary files; name one where "
        "that is too small. With any other source, naming a folder keeps encoded rows on disk.",
    )

    @model_validator(mode="after")
    def _tokens_or_counts(self) -> PreprocessingConfig:
        if self.tokenizer is None and self.max_length is not None:
            raise ValueError("max_length counts tokens and goes with a tokenizer; name its folder")
        counting = {"vocabulary", "ngrams", "weighting", "max_words"} & self.model_fields_set
        changed = [n for n in counting if getattr(self, n) != type(self).model_fields[n].default]
        if self.tokenizer is not None and changed:
            raise ValueError(
                f"{min(changed)} counts words, and with a tokenizer none are counted; leave out "
                "one of the two"
            )
        return self


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
        if membership == "pair" and not self.source.may_have_test_part:
            raise ValueError(
                "split.membership is 'pair' but the source has one part; name its test part "
                "(test_path, or test_x and test_y) or declare membership another way"
            )
        if (membership == "index") != (split.members_file is not None):
            raise ValueError("split.members_file goes with split.membership 'index', and only then")
        return self
