"""Labels in every form in which people have them, and which column of the outputs they mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from safecompress.data.classes import ClassList, class_numbers
from safecompress.data.labels import joined, label_values
from safecompress.data.raw import encode_labels
from safecompress.errors import ConfigError, DataError

ANIMALS = ("eel", "cat", "fox", "dog", "ant")
NUMBERS = {
    "list": list,
    "tuple": tuple,
    "int8": lambda y: np.array(y, np.int8),
    "uint64": lambda y: np.array(y, np.uint64),
    "big-endian": lambda y: np.array(y, ">i4"),
    "reversed view": lambda y: np.array(y[::-1])[::-1],
    "strided view": lambda y: np.repeat(np.array(y), 2)[::2],
    "whole floats": lambda y: np.array(y, float),
    "half floats": lambda y: np.array(y, np.float16),
    "big-endian floats": lambda y: np.array(y, ">f8"),
    "objects": lambda y: np.array(y, object),
    "objects of numpy": lambda y: np.array([np.int16(v) for v in y] + [None], object)[:-1],
    "column": lambda y: np.array(y)[:, None],
    "read-only": lambda y: np.frombuffer(np.array(y, np.int64).tobytes(), np.int64),
    "tensor": torch.tensor,
    "tensor of floats": lambda y: torch.tensor(y, dtype=torch.bfloat16),
    "tensor column": lambda y: torch.tensor(y)[:, None],
    "tensors": lambda y: [torch.tensor(v) for v in y],
    "texts": lambda y: [str(v) for v in y],
    "texts of floats": lambda y: np.array([f"{v}.0" for v in y]),
    "texts with zeros": lambda y: np.array([f"{v:03d}" for v in y]),
    "texts with signs": lambda y: np.array([f" +{v} " for v in y]),
    "texts of exponents": lambda y: np.array([f"{v}e0" for v in y], object),
    "bytes": lambda y: np.array([str(v).encode() for v in y]),
    "numpy texts": lambda y: [np.str_(v) for v in y],
}
TEXTS = {
    "list": list,
    "array": np.array,
    "objects": lambda y: np.array(y, object),
    "bytes": lambda y: np.array([v.encode() for v in y]),
    "numpy texts": lambda y: [np.str_(v) for v in y],
    "padded": lambda y: [f" {v} " for v in y],
    "in capitals": lambda y: [v.upper() for v in y],
    "column": lambda y: np.array(y)[:, None],
    "reversed view": lambda y: np.array(y[::-1])[::-1],
}
present = st.lists(st.integers(0, len(ANIMALS) - 1), min_size=1, max_size=12)


def read(labels: Any, classes: ClassList | None = None) -> list[int]:
    return class_numbers(label_values(labels, where="rows"), classes, where="rows").tolist()


@pytest.mark.parametrize("form", NUMBERS.values(), ids=NUMBERS)
@given(numbers=present)
def test_numbers_are_columns_in_every_form(form: Any, numbers: list[int]) -> None:
    assert read(form(numbers)) == numbers


@pytest.mark.parametrize("form", TEXTS.values(), ids=TEXTS)
@given(numbers=present, order=st.permutations(ANIMALS))
def test_texts_are_found_in_the_stated_order(
    form: Any, numbers: list[int], order: list[str]
) -> None:
    stated = ClassList.given(order)
    texts = [order[number] for number in numbers]
    assert read(form(texts), stated) == numbers, "absent classes keep their columns"
    with pytest.raises(DataError, match="nothing says which column"):
        read(form(texts))


@given(numbers=present)
def test_one_hot_rows_are_columns(numbers: list[int]) -> None:
    for dtype in (bool, int, np.float16, object):
        rows = np.eye(len(ANIMALS), dtype=dtype)[numbers]
        assert read(rows) == numbers
        assert read(rows, ClassList.given(ANIMALS)) == numbers
        assert label_values(rows, where="rows").columns == len(ANIMALS)
    with pytest.raises(DataError, match="one-hot labels of 5 columns"):
        read(np.eye(len(ANIMALS))[numbers], ClassList.given(ANIMALS[:4]))


@given(values=st.lists(st.integers(-5, 50), min_size=2, max_size=8, unique=True), data=st.data())
def test_numbers_that_are_names_are_looked_up(values: list[int], data: Any) -> None:
    chosen = data.draw(st.lists(st.sampled_from(range(len(values))), min_size=1))
    classes = ClassList(tuple(map(str, values)), "classes_", by_value=True)
    for form in (np.array, list, lambda y: np.array(y, float), lambda y: [str(v) for v in y]):
        assert read(form([values[i] for i in chosen]), classes) == chosen
    with pytest.raises(DataError, match="'99' is not among classes_"):
        read([99], classes)


def test_booleans_mean_their_column_or_the_class_of_that_value() -> None:
    assert read([True, False, True]) == [1, 0, 1]
    assert read(np.array([True, False])) == [1, 0]
    assert read(torch.tensor([True, False])) == [1, 0]
    swapped = ClassList(("True", "False"), "classes_", by_value=True)
    assert read([True, False, True], swapped) == [0, 1, 0]
    assert read([1, 0], swapped) == [0, 1]


@pytest.mark.parametrize("text", ["class_3", "LABEL_1", "1_000", "x1", "1,5", "½", "nan", "inf"])
def test_a_text_with_a_number_in_it_is_no_number(text: str) -> None:
    with pytest.raises(DataError, match="nothing says which column"):
        read([text, "0"])
    assert read([text, text], ClassList.given(["other", text])) == [1, 1]


def test_numbers_of_another_encoder_are_refused_where_the_model_names_classes() -> None:
    own = ClassList(ANIMALS, "the classes of Forest", by_value=True)
    with pytest.raises(DataError, match="another encoder"):
        read([0, 1, 2], own)
    assert read([0, 1, 2], ClassList.given(ANIMALS)) == [0, 1, 2]
    with pytest.raises(DataError, match="labels run from 0 to 5"):
        read([0, 5], ClassList.given(ANIMALS))


BAD = {
    "scalar": (3, "are a int"),
    "text": ("cat", "are a str"),
    "set": ({0, 1}, "are a set"),
    "None": (None, "are a NoneType"),
    "missing": ([0, None], "1 labels are missing"),
    "nan among objects": (np.array([0, np.nan], object), "1 labels are missing"),
    "nan": (np.array([0, np.nan]), "no whole numbers in 1 rows"),
    "fractions": ([0.5, 1], "no whole numbers"),
    "empty text": (["cat", " "], "1 labels are empty"),
    "texts and numbers": ([1, "cat"], "types int, str"),
    "two ones": (np.ones((3, 2)), "not one-hot"),
    "no one": (np.zeros((3, 2)), "not one-hot"),
    "soft": (np.full((3, 2), 0.5), "not one-hot"),
    "texts in two columns": (np.array([["a", "b"]]), "no numbers"),
    "three dimensions": (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
    "dates": (np.zeros(2, "datetime64[s]"), "datetime64"),
    "complex": (np.zeros(2, complex), "complex128"),
    "fields": (np.zeros(2, [("a", int)]), "labels of type"),
    "ragged": ([[1], [1, 2]], "cannot become an array"),
    "huge": (np.array([2**64 - 1], np.uint64), "expected a class number"),
    "huge float": ([1e30], "no whole numbers"),
}


@pytest.mark.parametrize(("labels", "message"), BAD.values(), ids=BAD)
def test_what_is_no_label_is_refused_in_one_sentence(labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(labels)
    assert str(caught.value).startswith("rows: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("cat,dog", "got a str"),
        ({"cat", "dog"}, "got a set"),
        ({0: "cat", 1: "dog"}, "got a dict"),
        (3, "got a int"),
        (["cat"], "1 names"),
        (["cat", "cat"], "'cat' is listed twice"),
        (["cat", " "], "a name is empty"),
    ],
)
def test_a_list_of_classes_has_an_order_and_distinct_names(classes: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ClassList.given(classes)


def test_no_list_is_none_and_names_may_be_numbers() -> None:
    assert ClassList.given(None) is None
    assert ClassList.given(()) is None
    found = ClassList.given(np.array([3, 1]))
    assert found is not None
    assert found.names == ("3", "1")
    assert read([1, 3, 3], found) == [1, 0, 0]


@given(numbers=present)
def test_rows_to_train_on_take_the_same_forms(numbers: list[int]) -> None:
    for name, form in NUMBERS.items():
        if "text" in name or name == "bytes":
            continue  # names of classes, numbered in sorted order
        indices, names = encode_labels(form(numbers), where="rows")
        assert indices.tolist() == numbers
        assert len(names) == max(numbers) + 1
    texts = [ANIMALS[number] for number in numbers]
    for name, form in TEXTS.items():
        indices, names = encode_labels(form(texts), where="rows")
        said = [names[i].lower() for i in indices]
        assert said == texts, name
        assert list(names) == sorted(names)
    indices, names = encode_labels(np.eye(len(ANIMALS))[numbers], where="rows")
    assert (indices.tolist(), len(names)) == (numbers, len(ANIMALS))


def test_parts_of_one_data_set_have_one_kind_of_labels() -> None:
    texts, numbers = (label_values(y, where="rows") for y in (["a", "b"], [0, 1]))
    assert len(joined(texts, texts, where="rows")) == 4
    assert len(joined(numbers, numbers, where="rows")) == 4
    with pytest.raises(DataError, match="texts in the train part and numbers in the test part"):
        joined(texts, numbers, where="rows")


def test_columns_of_data_frames_are_labels() -> None:
    pandas = pytest.importorskip("pandas")
    for form in (pandas.Series, pandas.Categorical, pandas.Index):
        assert read(form(["fox", "eel"]), ClassList.given(ANIMALS)) == [2, 0]
        assert read(form([2, 0])) == [2, 0]
    assert read(pandas.Series([2, 0], index=[7, 7], dtype="Int64")) == [2, 0]
    assert read(pandas.Series(["fox", "eel"], dtype="string"), ClassList.given(ANIMALS)) == [2, 0]
    assert read(pandas.DataFrame({"y": [1, 0]})) == [1, 0]
    with pytest.raises(DataError, match="no whole numbers in 1 rows"):
        read(pandas.Series([2, None], dtype="Int64"))
    with pytest.raises(DataError, match="1 labels are missing"):
        read(pandas.Series(["fox", None]), ClassList.given(ANIMALS))


def test_one_hot_columns_of_a_data_frame_stand_for_their_names() -> None:
    pandas = pytest.importorskip("pandas")
    rows = pandas.get_dummies(pandas.Series(["fox", "eel", "fox"]))
    assert read(rows, ClassList.given(ANIMALS)) == [2, 0, 2]
    with pytest.raises(DataError, match="nothing says which column"):
        read(rows)
    assert read(pandas.get_dummies(pandas.Series([0, 3, 2]))) == [0, 3, 2]
