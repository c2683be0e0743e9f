"""Preprocessing: parity with scikit-learn, images, and the way there and back through JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from safecompress.config import PreprocessingConfig
from safecompress.data import Column, Preprocessor, RawData
from safecompress.data.raw import raw_from_arrays
from safecompress.errors import DataError

RNG = np.random.default_rng(0)
WORDS = np.array(["the", "a", "card", "bank", "lost", "pay", "my", "fee", "Top", "Über", "top"])
TEXTS = np.array([" ".join(RNG.choice(WORDS, 9)) for _ in range(40)], dtype=object)


def array(x) -> RawData:
    return raw_from_arrays(np.asarray(x), np.arange(len(x)) % 2)


def table(*columns: Column) -> RawData:
    return RawData(columns, np.arange(len(columns[0].values)) % 2, ("0", "1"))


TABLE = table(
    Column("n", "numeric", np.where(np.arange(40) % 7 == 0, np.nan, RNG.normal(size=40))),
    Column("c", "categorical", np.array(list("abcd") * 10, dtype=object)),
    Column("t", "text", TEXTS),
)
IMAGES = array(RNG.integers(0, 256, (40, 5, 6, 3), dtype=np.uint8))


def test_numbers_are_standardized_as_scikit_learn_does():
    raw = array(RNG.normal(3, 7, (40, 5)))
    fitted = Preprocessor.fit(raw, range(25), PreprocessingConfig())
    expected = StandardScaler().fit(raw.columns[:25]).transform(raw.columns)
    values = fitted.transform(raw, range(40))
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    assert values.dtype == torch.float32
    assert values.is_contiguous()


def test_auto_leaves_features_of_zeros_and_ones_alone():
    x = np.column_stack([np.arange(40) % 2, np.arange(40.0)])
    fitted = Preprocessor.fit(array(x), range(40), PreprocessingConfig())
    values = fitted.transform(array(x), range(40)).numpy()
    np.testing.assert_array_equal(values[:, 0], x[:, 0])
    assert abs(values[:, 1].mean()) < 1e-6
    forced = Preprocessor.fit(array(x), range(40), PreprocessingConfig(features="standardize"))
    assert set(forced.transform(array(x), range(40)).numpy()[:, 0]) == {-1.0, 1.0}
    none = Preprocessor.fit(array(x), range(40), PreprocessingConfig(features="none"))
    np.testing.assert_array_equal(none.transform(array(x), range(40)), x.astype(np.float32))


def test_a_constant_feature_is_only_centered():
    x = np.full((40, 2), 0.1)
    fitted = Preprocessor.fit(array(x), range(40), PreprocessingConfig())
    assert fitted.transform(array(x), range(40)).eq(0).all()


@pytest.mark.parametrize("ngrams", [1, 2])
@pytest.mark.parametrize("weighting", ["count", "binary", "tfidf"])
def test_text_is_counted_and_weighted_as_scikit_learn_does(ngrams, weighting):
    config = PreprocessingConfig(ngrams=ngrams, weighting=weighting)
    raw = table(Column("t", "text", TEXTS))
    if weighting == "tfidf":
        reference = TfidfVectorizer(ngram_range=(1, ngrams))
    else:
        reference = CountVectorizer(ngram_range=(1, ngrams), binary=weighting == "binary")
    expected = reference.fit(TEXTS[:30]).transform(TEXTS).toarray()
    fitted = Preprocessor.fit(raw, range(30), config)
    np.testing.assert_allclose(fitted.transform(raw, range(40)), expected, rtol=1e-6)
    assert fitted.columns[0].terms == tuple(reference.get_feature_names_out())


def test_a_small_vocabulary_keeps_the_most_frequent_terms_and_breaks_ties_by_alphabet():
    texts = np.array(["bb bb aa", "cc dd", "zz zz zz"], dtype=object)
    fitted = Preprocessor.fit(
        table(Column("t", "text", texts)), range(3), PreprocessingConfig(vocabulary=4)
    )
    assert fitted.columns[0].terms == ("aa", "bb", "cc", "zz")


def test_text_is_cut_before_it_is_counted():
    raw = table(Column("t", "text", np.array(["aa bb cc", "aa  bb dd"], dtype=object)))
    fitted = Preprocessor.fit(raw, [0, 1], PreprocessingConfig(max_words=2))
    assert fitted.columns[0].terms == ("aa", "bb")
    first, second = fitted.transform(raw, [0, 1])
    assert torch.equal(first, second)


def test_categories_become_one_hot_as_scikit_learn_does():
    values = TABLE.columns[1].values
    raw = table(TABLE.columns[1])
    fitted = Preprocessor.fit(raw, range(3), PreprocessingConfig())
    encoder = OneHotEncoder(handle_unknown="ignore").fit(values[:3, None].astype(str))
    expected = encoder.transform(values[:, None].astype(str)).toarray()
    np.testing.assert_array_equal(fitted.transform(raw, range(40)), expected)


@pytest.mark.parametrize("axis", [1, 3])
def test_images_become_normalized_channels_first(axis):
    x = np.moveaxis(IMAGES.columns, 3, axis)
    raw = array(np.ascontiguousarray(x))
    fitted = Preprocessor.fit(raw, range(30), PreprocessingConfig())
    scaled = np.moveaxis(IMAGES.columns, 3, 1) / 255
    mean = scaled[:30].mean(axis=(0, 2, 3), keepdims=True)
    std = scaled[:30].std(axis=(0, 2, 3), keepdims=True)
    assert fitted.input_shape == (3, 5, 6)
    values = fitted.transform(raw, range(40))
    np.testing.assert_allclose(values, (scaled - mean) / std, rtol=1e-5, atol=1e-6)
    assert values.is_contiguous()
    plain = Preprocessor.fit(raw, range(30), PreprocessingConfig(features="none"))
    np.testing.assert_allclose(plain.transform(raw, range(40)), scaled, rtol=1e-6)


def test_gray_and_float_images_and_tables_of_pixels():
    gray = array(IMAGES.columns[..., 0])
    fitted = Preprocessor.fit(gray, range(40), PreprocessingConfig(layout="image"))
    assert fitted.input_shape == (1, 5, 6)
    floats = array(IMAGES.columns / 255)
    fitted = Preprocessor.fit(floats, range(40), PreprocessingConfig(layout="image"))
    same = Preprocessor.fit(IMAGES, range(40), PreprocessingConfig())
    np.testing.assert_allclose(
        fitted.transform(floats, range(40)), same.transform(IMAGES, range(40)), atol=1e-5
    )
    fitted = Preprocessor.fit(IMAGES, range(40), PreprocessingConfig(layout="table"))
    assert fitted.input_shape == (90,)
    fitted = Preprocessor.fit(floats, range(40), PreprocessingConfig())
    assert fitted.input_shape == (5, 6, 3)


@pytest.mark.parametrize("raw", [TABLE, IMAGES, array(RNG.normal(size=(40, 3)))])
def test_json_gives_the_preprocessing_back_bit_for_bit(raw):
    fitted = Preprocessor.fit(raw, range(17), PreprocessingConfig(ngrams=2))
    text = json.dumps(fitted.to_json(), allow_nan=False)
    again = Preprocessor.from_json(json.loads(text))
    assert again == fitted
    assert torch.equal(again.transform(raw, range(40)), fitted.transform(raw, range(40)))


@pytest.mark.parametrize("rows", [[], [5], [3, 1, 2]])
def test_rows_come_in_the_order_asked_for(rows):
    for raw in (TABLE, IMAGES):
        fitted = Preprocessor.fit(raw, range(40), PreprocessingConfig())
        everything = fitted.transform(raw, range(40))
        assert torch.equal(fitted.transform(raw, rows), everything[torch.tensor(rows).long()])


STATES = {
    "nothing": ({}, "either a block or columns"),
    "version": ({"version": 2}, "version"),
    "unknown kind": ({"block": {"kind": "pickle"}}, "block"),
    "text for numbers": (
        {"columns": [{"kind": "numeric", "name": "n", "fill": "x", "mean": 0, "std": 1}]},
        "fill",
    ),
}


@pytest.mark.parametrize(("state", "message"), STATES.values(), ids=STATES)
def test_a_foreign_state_is_refused(state, message):
    with pytest.raises(DataError, match=message):
        Preprocessor.from_json(state)


def test_rows_of_another_form_are_refused():
    on_table = Preprocessor.fit(TABLE, range(40), PreprocessingConfig())
    on_images = Preprocessor.fit(IMAGES, range(40), PreprocessingConfig())
    with pytest.raises(DataError, match="fitted on a table"):
        on_table.transform(IMAGES, [0])
    with pytest.raises(DataError, match="fitted on an array"):
        on_images.transform(TABLE, [0])
    with pytest.raises(DataError, match="no numeric column 'n'"):
        on_table.transform(table(*TABLE.columns[1:]), [0])
    with pytest.raises(DataError, match=r"shape \(5, 6\)"):
        on_images.transform(array(IMAGES.columns[..., 0]), [0])
    with pytest.raises(DataError, match="float64; expected uint8"):
        on_images.transform(array(IMAGES.columns / 1), [0])


@pytest.mark.parametrize(
    ("raw", "config", "message"),
    [
        (TABLE, {"layout": "image"}, "table of columns"),
        (array(np.ones((40, 3))), {"layout": "image"}, "no images"),
        (array(np.ones((40, 3, 5, 3), np.uint8)), {}, "both the second and the last"),
        (array(np.ones((40, 5, 5, 2), np.uint8)), {}, "neither axis"),
        (table(Column("t", "text", np.array(["a", "!"] * 20, dtype=object))), {}, "no word"),
        (array(np.full((40, 2), 1e200) * RNG.normal(size=(40, 2))), {}, "too large"),
    ],
)
def test_layouts_and_values_that_cannot_work_are_refused(raw, config, message):
    with pytest.raises(DataError, match=message):
        Preprocessor.fit(raw, range(40), PreprocessingConfig(**config))


def test_values_that_overflow_float32_are_refused_by_row():
    x = np.ones((40, 2))
    x[7] = 1e60
    fitted = Preprocessor.fit(array(x), range(5), PreprocessingConfig(features="none"))
    with pytest.raises(DataError, match=r"too large for float32 in 1 rows \(first: 7\)"):
        fitted.transform(array(x), range(40))


def test_a_column_members_lack_altogether_is_filled_with_zero():
    values = np.where(np.arange(40) < 20, np.nan, 5.0)
    raw = table(Column("n", "numeric", values))
    fitted = Preprocessor.fit(raw, range(20), PreprocessingConfig())
    assert fitted.transform(raw, [0, 30]).ravel().tolist() == [0.0, 5.0]
