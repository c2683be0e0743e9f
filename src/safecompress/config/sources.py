"""`Source`: the section of a source of rows, one class for each kind of source."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from safecompress.config.section import InputFile, Section


class SourceConfig(Section):
    """Base of the sections of sources: what a configuration must know of any of them."""

    source: str

    @property
    def part_options(self) -> dict[str, Any]:
        """Options that the configuration sets, by name; the source's class is built from them."""
        return {name: getattr(self, name) for name in self.model_fields_set - {"source"}}

    @property
    def may_have_test_part(self) -> bool:
        """Whether the source may have a test part, which `membership: pair` needs."""
        return False

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns of text that the configuration lists, in that order."""
        return ()

    @property
    def code(self) -> str:
        """Import path of code that the configuration names; empty where it names none."""
        return ""


class NpzSource(SourceConfig):
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

    @property
    def may_have_test_part(self) -> bool:
        """Whether a test part is named, in a file of its own or in the same."""
        return self.test_path is not None or self.test_x is not None


class NpySource(SourceConfig):
    """Arrays in `.npy` files that need not fit into memory: one pair, or a train and a test pair.

    Rows are read from disk as they are needed, and encoded rows are kept on disk, too, in
    `preprocessing.scratch`. Pickled arrays are refused.
    """

    source: Literal["npy"] = Field(description="Says that the rows are arrays in `.npy` files.")
    x: InputFile = Field(
        description="File of the inputs, whose first dimension counts the rows. A relative path "
        "starts at the current folder."
    )
    y: InputFile = Field(description="File of the labels: class indices or class names.")
    test_x: InputFile | None = Field(
        default=None, description="File of the test part's inputs. Left out, there is no test part."
    )
    test_y: InputFile | None = Field(
        default=None,
        description="File of the test part's labels; it goes with `test_x`. Left out, there is no "
        "test part.",
    )

    @property
    def may_have_test_part(self) -> bool:
        """Whether files of a test part are named."""
        return self.test_x is not None


class ImagesSource(SourceConfig):
    """A folder with one subfolder of JPEG and PNG files for each class.

    Classes are numbered in the alphabetical order of their folders, and images come in the order of
    their paths. Hidden files and files of other types are left out. Images are turned as their EXIF
    data say, and transparent ones are laid on white.
    """

    source: Literal["images"] = Field(description="Says that the rows are images in folders.")
    path: InputFile = Field(
        description="Folder of the rows, or of their train part; its subfolders are the classes. "
        "A relative path starts at the current folder."
    )
    test_path: InputFile | None = Field(
        default=None,
        description="Folder of the test part, with subfolders of the same names. Left out, there "
        "is none.",
    )
    size: Annotated[int, Field(gt=0)] | tuple[Annotated[int, Field(gt=0)], ...] | None = Field(
        default=None,
        description="Height and width in pixels, or one number for both, to which images are "
        "scaled (bilinear) until they cover it, and then cut around their middle. Left out, all "
        "must have one size, and are not scaled.",
    )
    color: Literal["auto", "gray", "rgb"] = Field(
        default="auto",
        description="Whether rows have one channel (`gray`) or three (`rgb`). `auto` takes one "
        "where every image is gray, and three otherwise.",
    )

    @model_validator(mode="after")
    def _two_sides(self) -> ImagesSource:
        if isinstance(self.size, tuple) and len(self.size) != 2:
            raise ValueError(f"size: {list(self.size)}; expected [height, width], or one number")
        return self

    @property
    def may_have_test_part(self) -> bool:
        """Whether a folder of a test part is named."""
        return self.test_path is not None


class TableSource(SourceConfig):
    """Base of the sections of files whose columns have names."""

    path: InputFile = Field(
        description="File of the rows, or of their train part. A relative path starts at the "
        "current folder."
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
        description="Columns of running text, from which words are counted or which "
        "`preprocessing.tokenizer` cuts into tokens. Left out, columns of many distinct values "
        "are; list a column that is refused as an identifier but is text, and of a pair of texts "
        "the first one first.",
    )
    drop: tuple[str, ...] = Field(
        default=(),
        description="Columns that are not used. Names and numbers that identify a row belong "
        "here, because they would mark the members.",
    )

    @property
    def may_have_test_part(self) -> bool:
        """Whether a file of a test part is named."""
        return self.test_path is not None

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns of text in the order they are listed."""
        return self.text or ()


class CsvSource(TableSource):
    """A CSV in UTF-8 with a header, or a train and a test file.

    Columns not listed are inferred: all numbers → numeric; few distinct values → categorical;
    otherwise text.
    """

    source: Literal["csv"] = Field(description="Says that the rows are lines of a CSV file.")
    delimiter: str = Field(default=",", description="The one character between two values.")


class JsonlSource(TableSource):
    """A file of one JSON object a line, or a train and a test file.

    The keys of the objects are the columns, whose kinds are found as those of a CSV.
    """

    source: Literal["jsonl"] = Field(description="Says that the rows are JSON objects, one a line.")


class ParquetSource(TableSource):
    """A Parquet file, or a train and a test file; needs pyarrow.

    The kinds of the columns are found as those of a CSV.
    """

    source: Literal["parquet"] = Field(description="Says that the rows are in a Parquet file.")


class DatasetsSource(TableSource):
    """A folder that `save_to_disk` of Hugging Face's datasets wrote; needs pyarrow.

    `path` and `test_path` name folders of one part each, such as `imdb/train` and `imdb/test`. The
    kinds of the columns are found as those of a CSV; names of classes come from the folder.
    """

    source: Literal["datasets"] = Field(
        description="Says that the rows are in a folder of Hugging Face's datasets."
    )


class SklearnSource(SourceConfig):
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


class TorchSource(SourceConfig):
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

    @property
    def may_have_test_part(self) -> bool:
        """True, because only the function's result shows whether there is a test part."""
        return True

    @property
    def code(self) -> str:
        """Import path of the function."""
        return self.factory


_BUILT_IN: dict[str, type[SourceConfig]] = {
    get_args(section.model_fields["source"].annotation)[0]: section
    for section in (
        NpzSource,
        NpySource,
        ImagesSource,
        CsvSource,
        JsonlSource,
        ParquetSource,
        DatasetsSource,
        SklearnSource,
        TorchSource,
    )
}
_PUBLISHED = "published"
SOURCE_TAGS = frozenset({*_BUILT_IN, _PUBLISHED})
"""Names of the sections of `Source`; pydantic inserts them into the paths of errors."""


def _exclude_built_in(schema: dict[str, Any]) -> None:
    """Exclude the names of built-in sources from the schema of a published one, in place."""
    schema["properties"]["source"]["not"] = {"enum": list(_BUILT_IN)}


class PublishedSource(SourceConfig):
    """A source that an installed package publishes; see `safecompress list sources`.

    Its options are those of the package's class, and are checked when the source is built, before
    training.
    """

    model_config = ConfigDict(
        frozen=True, extra="allow", allow_inf_nan=False, json_schema_extra=_exclude_built_in
    )

    source: str = Field(
        min_length=1,
        description="Name of the source, as `safecompress list sources` shows it; its own options "
        "stand beside it.",
    )

    @property
    def part_options(self) -> dict[str, Any]:
        """Options that the configuration sets, by name."""
        return dict(self.model_extra or {})

    @property
    def may_have_test_part(self) -> bool:
        """True, because only the published class knows whether there is a test part."""
        return True


def _tag(given: Any) -> str | None:
    """Return the tag of the section that a source belongs to; None where it has no name."""
    name = given.get("source") if isinstance(given, dict) else getattr(given, "source", None)
    if not isinstance(name, str):
        return None
    return name if name in _BUILT_IN else _PUBLISHED


Source: TypeAlias = Annotated[
    Annotated[NpzSource, Tag("npz")]
    | Annotated[NpySource, Tag("npy")]
    | Annotated[ImagesSource, Tag("images")]
    | Annotated[CsvSource, Tag("csv")]
    | Annotated[JsonlSource, Tag("jsonl")]
    | Annotated[ParquetSource, Tag("parquet")]
    | Annotated[DatasetsSource, Tag("datasets")]
    | Annotated[SklearnSource, Tag("sklearn")]
    | Annotated[TorchSource, Tag("torch")]
    | Annotated[PublishedSource, Tag(_PUBLISHED)],
    Discriminator(
        _tag,
        custom_error_type="no_source",
        custom_error_message="expected a mapping whose key 'source' is the name of a source ("
        + ", ".join(_BUILT_IN)
        + ", or a published one) and whose other keys are its options",
    ),
]
"""A source's section, chosen by its key `source`."""
