"""`Preprocessor`: how raw rows become tensors, learned on members only and saved as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from torch import Tensor

from safecompress.config import PreprocessingConfig, Section
from safecompress.data.disk import ScratchFile, chunks
from safecompress.data.encoders import (
    ArrayEncoder,
    CategoricalEncoder,
    ImageEncoder,
    NumericEncoder,
)
from safecompress.data.raw import Array, Column, RawData, refuse_rows
from safecompress.data.text import TextEncoder
from safecompress.data.tokens import TokenEncoder, new_texts
from safecompress.errors import DataError
from safecompress.protocols import InputRange

_GRAY_LEVELS = 255.0

Indices: TypeAlias = "Tensor | NDArray[np.int64] | list[int] | range"
_BlockEncoder = Annotated[ArrayEncoder | ImageEncoder | TokenEncoder, Field(discriminator="kind")]
_ColumnEncoder = Annotated[
    NumericEncoder | CategoricalEncoder | TextEncoder, Field(discriminator="kind")
]


class Preprocessor(Section):
    """Turns raw rows into tensors. Preprocessors with the same state are equal.

    Args:
        version: version of the JSON format.
        block: encoder of an array or of token ids; None for a table.
        columns: encoder of each column of a table, in the order of the features.
    """

    version: Literal[1] = 1
    block: _BlockEncoder | None = None
    columns: tuple[_ColumnEncoder, ...] = ()

    @classmethod
    def fit(cls, raw: RawData, rows: Indices, config: PreprocessingConfig) -> Preprocessor:
        """Learn from the members, and from no other rows.

        Args:
            raw: the source's rows.
            rows: indices of the members.
            config: how rows are encoded.

        Raises:
            DataError: when there are no members, the layout does not fit the source, or values are
                too large.
        """
        index = _indices(rows)
        if len(index) == 0:
            raise DataError(f"{raw.where}: no members to fit the preprocessing on.")
        if isinstance(raw.columns, tuple):
            if config.layout == "image":
                raise DataError(
                    f"{raw.where}: preprocessing.layout is 'image' but the source is a table of "
                    "columns; set it to auto or table."
                )
            return cls(columns=tuple(_fit_column(c, index, config) for c in raw.columns))
        x = raw.columns
        image = config.layout == "image" or (
            config.layout == "auto" and x.ndim == 4 and x.dtype == np.uint8
        )
        encoder = ImageEncoder if image else ArrayEncoder
        try:
            return cls(block=encoder.fit(x, index, config))
        except DataError as error:
            raise DataError(f"{raw.where}: {error}") from error

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one preprocessed row."""
        if self.block is not None:
            return self.block.output_shape
        return (sum(encoder.width for encoder in self.columns),)

    @property
    def tokens(self) -> TokenEncoder | None:
        """What turns texts into token ids; None for rows of another kind."""
        return self.block if isinstance(self.block, TokenEncoder) else None

    @property
    def input_range(self) -> InputRange | None:
        """Range of the inputs of images with 256 gray levels; None where it is not known."""
        if not isinstance(self.block, ImageEncoder) or self.block.scale != _GRAY_LEVELS:
            return None
        return InputRange.of_images(self.block.mean, self.block.std)

    def transform(
        self, raw: RawData, rows: Indices, *, on_disk: bool = False, folder: Path | None = None
    ) -> Tensor:
        """Return encoded rows, (len(rows), *input_shape), contiguous and finite.

        They are float32, but whole numbers that are left alone are int64, as embeddings need them.

        Args:
            raw: rows of a source like the one it was fitted on.
            rows: indices of the rows to encode.
            on_disk: whether they are written to a scratch file, of which the tensor is a view.
            folder: where that file is; None for the system's folder of temporary files.

        Raises:
            DataError: when `raw` has other columns or shapes than the preprocessing was fitted on,
                or values that overflow float32.
            StorageError: when the file cannot be written.
        """
        index = _indices(rows)
        bad = np.zeros(len(raw), dtype=bool)
        try:
            if on_disk:
                values = self._on_disk(raw, index, bad, folder)
            else:
                values = self._encode(raw.columns, index)
                _mark_bad_(bad, index, values)
        except DataError as error:
            raise DataError(f"{raw.where}: {error}") from error
        refuse_rows(
            bad,
            f"{raw.where}: values too large for float32",
            "rescale them, or remove what stands for a missing value",
        )
        return values

    def _on_disk(
        self, raw: RawData, index: NDArray[np.int64], bad: NDArray[np.bool_], folder: Path | None
    ) -> Tensor:
        """Return encoded rows in a scratch file; mark those that are not finite in `bad`."""
        head = self._encode(raw.columns, index[:0]).numpy()
        row_bytes = head.dtype.itemsize * int(np.prod(head.shape[1:]))
        with ScratchFile(len(index), head.shape[1:], head.dtype, folder=folder) as file:
            for part in chunks(len(index), row_bytes=row_bytes):
                values = self._encode(raw.columns, index[part])
                _mark_bad_(bad, index[part], values)
                file.write(values.numpy())
            return file.tensor()

    def apply(self, rows: Any) -> Tensor:
        """Return new rows, without labels, as the model takes them.

        Args:
            rows: for a table, its columns by name (a mapping of sequences, or a data frame);
                for texts that a tokenizer cuts the same, or the list of texts of one column;
                otherwise an array (n, ...) like the one the preprocessing was fitted on.

        Returns:
            (n, *input_shape), float32 or int64 as `transform` returns them, finite.

        Raises:
            DataError: when a column is missing, a shape differs, or a value is no number.
        """
        if isinstance(self.block, TokenEncoder):
            return torch.from_numpy(new_texts(self.block, rows))
        columns = np.asarray(rows) if self.block is not None else self._columns_of(rows)
        n = len(columns[0].values) if isinstance(columns, tuple) else len(columns)
        values = self._encode(columns, np.arange(n))
        if not bool(torch.isfinite(values).all()):
            raise DataError("new rows: values that are infinite or too large for float32.")
        return values

    def _columns_of(self, rows: Any) -> tuple[Column, ...]:
        columns = []
        for encoder in self.columns:
            try:
                values = list(rows[encoder.name])
            except (KeyError, TypeError, IndexError) as error:
                raise DataError(
                    f"new rows: no column '{encoder.name}'; expected columns "
                    f"{', '.join(e.name for e in self.columns)}."
                ) from error
            columns.append(Column(encoder.name, encoder.kind, _column_values(values, encoder)))
        if len({len(column.values) for column in columns}) > 1:
            raise DataError("new rows: columns of different lengths.")
        return tuple(columns)

    def _encode(self, columns: Array | tuple[Column, ...], index: NDArray[np.int64]) -> Tensor:
        if self.block is not None:
            if isinstance(columns, tuple):
                raise DataError("a table of columns; the preprocessing was fitted on an array.")
            return torch.from_numpy(self.block.encode(columns, index))
        if not isinstance(columns, tuple):
            raise DataError("an array; the preprocessing was fitted on a table of columns.")
        given = {column.name: column for column in columns}
        for encoder in self.columns:
            if encoder.name not in given or given[encoder.name].kind != encoder.kind:
                raise DataError(
                    f"no {encoder.kind} column '{encoder.name}', which the preprocessing needs; "
                    f"got {', '.join(f'{c.name} ({c.kind})' for c in columns)}."
                )
        out = torch.empty((len(index), *self.input_shape), dtype=torch.float32)
        begin = 0
        for encoder in self.columns:
            block = encoder.encode(given[encoder.name].values[index])
            out[:, begin : begin + encoder.width] = torch.from_numpy(block)
            begin += encoder.width
        return out

    def to_json(self) -> dict[str, Any]:
        """Return the whole state as JSON values; `from_json` restores it bit for bit."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Preprocessor:
        """Return the preprocessor with a saved state.

        Args:
            state: what `to_json` returned.

        Raises:
            DataError: when it is no such state.
        """
        try:
            preprocessor = cls.model_validate(state)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise DataError(
                f"preprocessing state: {where}: {error.errors()[0]['msg']}; expected what "
                "Preprocessor.to_json() returned."
            ) from error
        if (preprocessor.block is None) == (not preprocessor.columns):
            raise DataError("preprocessing state: expected either a block or columns, and one.")
        return preprocessor


def _fit_column(
    column: Column, index: NDArray[np.int64], config: PreprocessingConfig
) -> NumericEncoder | CategoricalEncoder | TextEncoder:
    values = column.values[index]
    match column.kind:
        case "numeric":
            return NumericEncoder.fit(column.name, values, config)
        case "categorical":
            return CategoricalEncoder.fit(column.name, values)
        case "text":
            return TextEncoder.fit(column.name, values, config)


def _column_values(values: list[Any], encoder: _ColumnEncoder) -> Array:
    if encoder.kind != "numeric":
        return np.array(["" if v is None else str(v) for v in values], dtype=object)
    try:
        return np.array([np.nan if v is None or v == "" else float(v) for v in values])
    except (TypeError, ValueError) as error:
        raise DataError(f"new rows: column '{encoder.name}' is numeric: {error}.") from error


def _mark_bad_(bad: NDArray[np.bool_], index: NDArray[np.int64], values: Tensor) -> None:
    """Mark the rows whose encoded values are not finite."""
    # A finite sum proves that all values are finite; only otherwise is each value checked.
    if not bool(torch.isfinite(values.sum())):
        finite = torch.isfinite(values.flatten(1)).all(dim=1).numpy()
        bad[index[~finite]] = True


def _indices(rows: Indices) -> NDArray[np.int64]:
    return np.asarray(rows, dtype=np.int64)
