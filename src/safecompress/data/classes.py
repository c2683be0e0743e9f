"""`ClassList` and `class_numbers`: which column of a model's outputs is which class.

The order of the columns is known to whoever trained the model, and to nobody else. It is never
inferred from the labels that happen to occur, because a wrong guess gives a false PASS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safecompress.data.labels import LabelValues
from safecompress.errors import ConfigError, DataError

HOW_TO_LIST = (
    "list the classes in the order of the model's columns (classes=[…] in Python, --classes A,B,… "
    "on the command line, `classes` in a configuration or an array `class_names` in an .npz of "
    "outputs), or number the labels from 0 as the model does"
)
_SHOWN = 6


@dataclass(frozen=True)
class ClassList:
    """The classes of a model, in the order of its columns.

    Args:
        names: one name for each column.
        source: who stated them, for messages.
        by_value: whether numbers are names, too, as in `classes_` of scikit-learn; otherwise a
            number is that of a column, unless all names are numbers.

    Raises:
        ConfigError: when a name is empty or occurs twice, or there are fewer than two.
    """

    names: tuple[str, ...]
    source: str
    by_value: bool = False

    def __post_init__(self) -> None:
        if len(self.names) < 2:
            raise ConfigError(
                f"{self.source}: {len(self.names)} names; expected one for each of the model's "
                "columns, at least two."
            )
        if any(not name.strip() for name in self.names):
            raise ConfigError(f"{self.source}: a name is empty; name every class.")
        if twice := [name for name in self.names if self.names.count(name) > 1]:
            raise ConfigError(
                f"{self.source}: '{twice[0][:60]}' is listed twice; every column has its own class."
            )

    @classmethod
    def given(cls, classes: Any, *, source: str = "classes") -> ClassList | None:
        """Return the list that a user stated, or None where nothing is stated.

        Args:
            classes: names or numbers in the order of the columns; None or empty for none.
            source: who stated them, for messages.

        Raises:
            ConfigError: when it is no list in an order, or its names are not unique.
        """
        if classes is None:
            return None
        if isinstance(classes, str | bytes | Mapping | set | frozenset) or not isinstance(
            classes, Iterable
        ):
            raise ConfigError(
                f"{source}: got a {type(classes).__name__}; expected a list of names, in the order "
                "of the model's columns."
            )
        names = tuple(_name(value) for value in classes)
        return cls(names, source) if names else None

    @cached_property
    def places(self) -> dict[int, int] | None:
        """The column of every class by its number; None unless all names are numbers."""
        numbers = [_number_of_name(name) for name in self.names]
        known = {number: place for place, number in enumerate(numbers) if number is not None}
        return known if len(known) == len(numbers) else None

    def column_of(self, text: str) -> int | None:
        """Return the column of a class by its name, or None.

        Names that differ in case and in spaces around them are the same where no two names of the
        list do.

        Args:
            text: the name.
        """
        return self._exact.get(text.strip(), self._lower.get(text.strip().lower()))

    @cached_property
    def _exact(self) -> dict[str, int]:
        return {name.strip(): place for place, name in enumerate(self.names)}

    @cached_property
    def _lower(self) -> dict[str, int]:
        lower = {name.strip().lower(): place for place, name in enumerate(self.names)}
        return lower if len(lower) == len(self.names) else {}

    @property
    def shown(self) -> str:
        """The first few names, for messages."""
        more = f", … ({len(self.names)} in all)" if len(self.names) > _SHOWN else ""
        return ", ".join(name[:40] for name in self.names[:_SHOWN]) + more


def class_numbers(
    labels: LabelValues, classes: ClassList | None, *, where: str
) -> NDArray[np.int64]:
    """Return the column of every label's class, int64 (n,).

    - Without a list of classes, whole numbers are columns, also as texts such as "0.0", "01" or
      "+1"; other texts are refused.
    - With one, texts are its names. Numbers are its names where all of them are numbers, and
      columns otherwise.

    Args:
        labels: the labels.
        classes: what was stated about the order of the columns; None where nothing was.
        where: name of the labels in messages.

    Raises:
        DataError: when a label is no class of the list, or texts have no list; says how to list.
    """
    if labels.columns:
        return _columns(labels, classes, where)
    if labels.texts is not None:
        texts = [str(text) for text in labels.texts]
        if classes is not None and (found := _by_name(texts, classes)) is not None:
            return found
        numbers = {text: whole_number(text) for text in dict.fromkeys(texts)}
        no_numbers = [text for text, number in numbers.items() if number is None]
        if no_numbers and classes is None:
            raise DataError(
                f"{where}: labels are texts ({', '.join(t[:40] for t in no_numbers[:3])}), and "
                f"nothing says which column of the outputs is which class; {HOW_TO_LIST}."
            )
        if no_numbers and classes is not None:
            stranger = next(t for t in numbers if classes.column_of(t) is None)
            raise _unknown(stranger, classes, where)
        values = np.array([numbers[text] for text in texts], dtype=np.int64)
    else:
        values = np.asarray(labels.numbers)
    return _by_number(values, classes, where)


def names_beyond_numbers(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names of classes, or none where they are only the numbers of the columns.

    Args:
        names: one name for each class.
    """
    return () if names == tuple(map(str, range(len(names)))) else names


def read_again(numbers: NDArray[np.int64], names: tuple[str, ...]) -> LabelValues:
    """Return the labels of a data source as its file has them.

    A source numbers labels that are texts in sorted order, which says nothing about a model that
    was trained elsewhere.

    Args:
        numbers: int64 (n,), the source's own numbers.
        names: one name for each of them.
    """
    if not names_beyond_numbers(names):
        return LabelValues(numbers, None)
    return LabelValues(None, np.array(names, dtype=object)[numbers])


def require_names(names: tuple[str, ...], columns: int, *, path: Path) -> None:
    """Check that there is one name for each column of the outputs, or none at all.

    Args:
        names: names of the classes; empty where they are not known.
        columns: number of columns of the model's outputs.
        path: the model, for messages.

    Raises:
        ConfigError: when there are more names or fewer.
    """
    if names and len(names) != columns:
        raise ConfigError(
            f"{path}: {len(names)} classes are listed ({', '.join(names)[:120]}) and the outputs "
            f"have {columns} columns; name every column, in order."
        )


def whole_number(text: str) -> int | None:
    """Return the whole number that a text stands for, or None.

    Args:
        text: any text.

    >>> whole_number(" +1"), whole_number("1e0"), whole_number("01"), whole_number("class_1")
    (1, 1, 1, None)
    """
    plain = text.strip()
    if not plain.isascii() or "_" in plain or len(plain) > 18:
        return None
    try:
        return int(plain)
    except ValueError:
        pass
    try:
        value = float(plain)
    except ValueError:
        return None
    return int(value) if value.is_integer() and abs(value) < 2**53 else None


def _name(value: Any) -> str:
    value = value.item() if hasattr(value, "item") and np.ndim(value) == 0 else value
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    return text.strip()


def _number_of_name(name: str) -> int | None:
    """Return the number that a class's name stands for; False and True are 0 and 1."""
    return {"False": 0, "True": 1}.get(name, whole_number(name))


def _by_name(texts: list[str], classes: ClassList) -> NDArray[np.int64] | None:
    """Return the columns of texts that are all names of the list, or None."""
    columns = {text: classes.column_of(text) for text in dict.fromkeys(texts)}
    if None in columns.values():
        return None
    return np.array([columns[text] for text in texts], dtype=np.int64)


def _by_number(
    values: NDArray[np.int64], classes: ClassList | None, where: str
) -> NDArray[np.int64]:
    if classes is None:
        return values
    places = classes.places
    if places is not None:
        for number in np.unique(values).tolist():
            if number not in places:
                raise _unknown(str(number), classes, where)
        return np.array([places[number] for number in values.tolist()], dtype=np.int64)
    if classes.by_value:
        raise DataError(
            f"{where}: labels are numbers, and {classes.source} are {classes.shown}; give the "
            "labels as the model knows them. Numbers of another encoder may be in another order."
        )
    if values.size and not 0 <= int(values.min()) <= int(values.max()) < len(classes.names):
        raise DataError(
            f"{where}: labels run from {values.min()} to {values.max()}, and {classes.source} "
            f"lists {len(classes.names)} classes; number them from 0 in that order, or give their "
            "names."
        )
    return values


def _columns(labels: LabelValues, classes: ClassList | None, where: str) -> NDArray[np.int64]:
    if classes is not None and labels.columns != len(classes.names):
        raise DataError(
            f"{where}: one-hot labels of {labels.columns} columns, and {classes.source} lists "
            f"{len(classes.names)} classes; give one column for each, or the names of the classes."
        )
    return np.asarray(labels.numbers)


def _unknown(label: str, classes: ClassList, where: str) -> DataError:
    return DataError(
        f"{where}: label '{label[:60]}' is not among {classes.source} ({classes.shown}); name "
        "the labels as they are listed there, or number them as its columns, from 0."
    )
