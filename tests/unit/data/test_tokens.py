"""Texts become the token ids that their tokenizer says, padded, cut and compared as ids."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from safecompress import splits_from_arrays
from safecompress.config import DataConfig, PreprocessingConfig, load_section
from safecompress.data import Preprocessor
from safecompress.data.load import load_splits
from safecompress.errors import ConfigError, DataError, ModelError
from safecompress.pretrained import TextTokenizer
from tests.text_folders import (
    LONGEST,
    MASK,
    PAD,
    SEPARATOR,
    SPECIAL,
    START,
    UNKNOWN,
    WORDS,
    labeled_texts,
    word_tokenizer,
    written_csv,
)

FIRST_WORD = len(SPECIAL)


def ids_of(text):
    """Return the ids of a text, computed without the tokenizer."""
    numbers = {word: FIRST_WORD + i for i, word in enumerate(WORDS)}
    return [numbers.get(word, UNKNOWN) for word in text.split()]


def expected(texts, seconds=None, *, longest=LONGEST):
    rows = []
    for place, text in enumerate(texts):
        first, second = ids_of(text), None if seconds is None else ids_of(seconds[place])
        if second is None:
            rows.append([START, *first[: longest - 2], SEPARATOR])
        else:
            rows.append([START, *first, SEPARATOR, *second, SEPARATOR])
    length = max(map(len, rows))
    return torch.tensor([row + [PAD] * (length - len(row)) for row in rows])


def all_rows(splits):
    """Return all rows of splits by their id, without opening the sealed ones."""
    pairs = [splits.members, splits.steer.nonmembers]
    return {int(i): row for rows in pairs for i, row in zip(rows.ids, rows.inputs, strict=True)}


def data_of(path, folder, **changes):
    given = {
        "source": {"source": "csv", "path": str(path), **changes.pop("source", {})},
        "preprocessing": {"tokenizer": str(folder), **changes},
    }
    return load_section(DataConfig, given, where="data")


def test_rows_are_the_ids_of_their_texts_padded_to_the_longest(text_folder, tmp_path):
    texts, labels = labeled_texts(60)
    path = written_csv(tmp_path / "a.csv", {"text": texts, "label": labels})
    splits = load_splits(data_of(path, text_folder), seed=0, weights_given=False)
    right = expected(texts)
    assert splits.input_shape == (right.shape[1],)
    found = all_rows(splits)
    assert len(found) > 30
    for row, ids in found.items():
        assert ids.dtype == torch.int64
        assert torch.equal(ids, right[row])


@pytest.mark.parametrize("length", [3, 5, 9, 40])
def test_texts_that_differ_after_the_cut_alone_are_duplicates(text_folder, length):
    texts, labels = labeled_texts(80, seed=3)
    splits = splits_from_arrays(
        texts,
        labels,
        preprocessing={"tokenizer": str(text_folder), "max_length": length},
        seed=0,
    )
    right = {tuple(row) for row in expected(texts, longest=length).tolist()}
    assert splits.input_shape[0] == min(length, max(len(t.split()) for t in texts) + 2)
    assert sum(splits.report.sizes[n] for n in ("members", "steer.nonmembers")) <= len(right)
    assert len(splits.report.dropped) == len(texts) - len(right)


def test_the_second_text_of_a_pair_is_told_by_the_separator(text_folder):
    firsts, labels = labeled_texts(40, seed=1)
    seconds = [text.partition(" ")[0] for text in labeled_texts(40, seed=2)[0]]
    firsts = [" ".join(text.split()[:6]) for text in firsts]
    splits = splits_from_arrays(
        (firsts, seconds), labels, preprocessing={"tokenizer": str(text_folder)}, seed=0
    )
    right = expected(firsts, seconds)
    for row, ids in all_rows(splits).items():
        assert torch.equal(ids, right[row])
    assert splits.preprocessor.tokens.separator == SEPARATOR


def test_the_order_of_a_pair_is_that_of_the_configuration(text_folder, tmp_path):
    (a, labels), (b, _) = labeled_texts(30, seed=1), labeled_texts(30, seed=2)
    a, b = ([" ".join(t.split()[:4]) for t in texts] for texts in (a, b))
    path = written_csv(tmp_path / "a.csv", {"a": a, "b": b, "label": labels})
    config = data_of(path, text_folder, source={"text": ["b", "a"]})
    splits = load_splits(config, seed=0, weights_given=False)
    right = expected(b, a)
    for row, ids in all_rows(splits).items():
        assert torch.equal(ids, right[row])


def test_text_that_looks_like_a_special_token_is_text(text_folder):
    ids = TextTokenizer(text_folder).encode([["word1 [SEP] word2 [PAD]"]], longest=LONGEST)
    assert int((ids == SEPARATOR).sum()) == 1
    assert PAD not in ids
    tokenizer = TextTokenizer(text_folder)
    assert (tokenizer.pad, tokenizer.mask) == (PAD, MASK)
    assert tokenizer.special == (PAD, START, SEPARATOR, MASK)


def test_new_texts_are_encoded_as_the_rows_were(text_folder):
    texts, labels = labeled_texts(40)
    splits = splits_from_arrays(
        texts, labels, preprocessing={"tokenizer": str(text_folder)}, seed=0
    )
    state = json.loads(json.dumps(splits.preprocessor.to_json()))
    again = Preprocessor.from_json(state)
    assert again == splits.preprocessor
    for given in (texts, {"text": texts}):
        assert torch.equal(again.apply(given), expected(texts))
    # A longer text than any before is cut; a shorter batch is padded as far.
    long = again.apply([" ".join(WORDS)])
    assert long.shape == (1, splits.input_shape[0])
    assert int(long[0, -1]) == SEPARATOR
    with pytest.raises(DataError, match="no column 'text'"):
        again.apply({"words": texts})
    with pytest.raises(DataError, match="1 entries are no texts"):
        again.apply(["word1", None])


def test_another_tokenizer_in_the_folder_is_refused(text_folder, tmp_path):
    folder = shutil.copytree(text_folder, tmp_path / "copy")
    texts, labels = labeled_texts(40)
    splits = splits_from_arrays(texts, labels, preprocessing={"tokenizer": str(folder)}, seed=0)
    word_tokenizer(WORDS[::-1]).save_pretrained(folder)
    with pytest.raises(DataError, match="not the one that the model was trained with"):
        splits.preprocessor.apply(texts)


@pytest.mark.parametrize(
    ("columns", "source", "message"),
    [
        (("text", "more"), {}, "2 columns of text"),
        (("text", "number"), {}, r"other columns \(number\).*data\.source\.drop"),
        (("number",), {}, "0 columns of text"),
    ],
)
def test_other_columns_than_texts_are_refused(text_folder, tmp_path, columns, source, message):
    texts, labels = labeled_texts(30)
    known = {"text": texts, "more": texts[::-1], "number": list(range(30))}
    given = {name: known[name] for name in columns} | {"label": labels}
    path = written_csv(tmp_path / "a.csv", given)
    with pytest.raises(DataError, match=message):
        load_splits(data_of(path, text_folder, source=source), seed=0, weights_given=False)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(ModelError, match="no tokenizer in it"):
        TextTokenizer(tmp_path)


def test_settings_that_count_words_do_not_go_with_a_tokenizer(tmp_path):
    for wrong in ({"max_length": 5}, {"tokenizer": str(tmp_path), "ngrams": 2}):
        with pytest.raises(ConfigError, match="tokenizer"):
            load_section(PreprocessingConfig, wrong, where="preprocessing")


@pytest.mark.parametrize("given", ["one text", np.zeros((3, 2)), 7, (["a"], ["b", "c"])])
def test_inputs_that_are_no_texts_are_refused(text_folder, given):
    with pytest.raises(DataError, match="texts"):
        splits_from_arrays(given, [0, 1, 0], preprocessing={"tokenizer": str(text_folder)}, seed=0)
