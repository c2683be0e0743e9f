"""CSV: what is inferred, what is refused and on which line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from safecompress.config import CsvSource, PreprocessingConfig
from safecompress.data import Preprocessor, load_source
from safecompress.errors import DataError


def written(path: Path, content: str, **settings) -> CsvSource:
    path.write_text(content, encoding="utf-8")
    return CsvSource(source="csv", path=path, **settings)


TABLE = "age,town,remark,label\n" + "".join(
    f"{20 + i},{'Rome' if i % 3 else 'Oslo'},remark number{i},{'yes' if i % 2 else 'no'}\n"
    for i in range(12)
)


def kinds(raw) -> dict[str, str]:
    return {column.name: column.kind for column in raw.columns}


def test_kinds_are_inferred(tmp_path):
    raw = load_source(written(tmp_path / "a.csv", TABLE))
    assert kinds(raw) == {"age": "numeric", "town": "categorical", "remark": "text"}
    assert raw.label_names == ("no", "yes")
    np.testing.assert_array_equal(raw.labels, np.arange(12) % 2)
    np.testing.assert_array_equal(raw.columns[0].values, 20.0 + np.arange(12))


def test_listed_kinds_win_and_dropped_columns_go(tmp_path):
    raw = load_source(
        written(tmp_path / "a.csv", TABLE, categorical=("age",), text=("town",), drop=("remark",))
    )
    assert kinds(raw) == {"age": "categorical", "town": "text"}


def test_bom_blank_lines_quotes_and_another_delimiter(tmp_path):
    text = '\ufefftext;label\n"a; ""b""\nc";x\n\nplain;y\n'
    raw = load_source(written(tmp_path / "a.csv", text, delimiter=";"))
    assert list(raw.columns[0].values) == ['a; "b"\nc', "plain"]


def test_plain_indices_stay_class_indices_and_other_numbers_are_names(tmp_path):
    raw = load_source(written(tmp_path / "a.csv", "v,label\n1,2\n2,0\n3,10\n"))
    assert raw.classes == 11
    np.testing.assert_array_equal(raw.labels, [2, 0, 10])
    raw = load_source(written(tmp_path / "a.csv", "v,label\n1,-1\n2,1\n"))
    assert raw.label_names == ("-1", "1")
    raw = load_source(written(tmp_path / "a.csv", "v,label\n1,01234\n2,99999999\n"))
    assert raw.label_names == ("01234", "99999999")


def test_missing_numbers_are_filled_with_the_members_mean(tmp_path):
    raw = load_source(written(tmp_path / "a.csv", "v,label\n1,a\n,b\n3,a\nNaN,b\n100,a\n"))
    assert kinds(raw) == {"v": "numeric"}
    fitted = Preprocessor.fit(raw, range(3), PreprocessingConfig(features="none"))
    np.testing.assert_array_equal(fitted.transform(raw, range(5)).ravel(), [1, 2, 3, 2, 100])


def test_an_unseen_category_becomes_all_zeros(tmp_path):
    raw = load_source(written(tmp_path / "a.csv", "v,label\nx,a\ny,b\nz,a\n", categorical=("v",)))
    fitted = Preprocessor.fit(raw, [0, 1], PreprocessingConfig())
    assert fitted.transform(raw, range(3)).tolist() == [[1, 0], [0, 1], [0, 0]]


def test_a_cell_may_be_a_long_text(tmp_path):
    text = f"v,label\n{'word ' * 50_000},a\nshort text,b\n"
    raw = load_source(written(tmp_path / "a.csv", text))
    assert [len(value) for value in raw.columns[0].values] == [250_000, 10]


def test_a_table_may_have_many_columns(tmp_path):
    names = [f"gene{i}" for i in range(4_000)]
    rows = [",".join(["1.5"] * 4_000 + [label]) for label in "abab"]
    raw = load_source(written(tmp_path / "a.csv", "\n".join([",".join([*names, "label"]), *rows])))
    assert [c.name for c in raw.columns] == names


def test_a_test_file_may_order_its_columns_otherwise(tmp_path):
    (tmp_path / "b.csv").write_text("label,w,v\nb,7,8\n")
    raw = load_source(
        written(tmp_path / "a.csv", "v,w,label\n1,2,a\n3,4,b\n", test_path=tmp_path / "b.csv")
    )
    assert raw.test_from == 2
    assert [column.values.tolist() for column in raw.columns] == [[1, 3, 8], [2, 4, 7]]


REFUSED = {
    "empty": ("", {}, "empty"),
    "header only": ("v,label\n", {}, "no rows"),
    "label": ("v,labels\n1,a\n", {}, "no label column 'label'; did you mean 'labels'"),
    "ragged": ("v,label\n1,a\n2\n", {}, "line 3: 1 values but the header names 2"),
    "after a line break": ('v,label\n"a\nb",a\n1,2,3\n', {}, "line 4: 3 values"),
    "empty label": ("v,label\n1,a\n2,\n3, \n", {}, r"line 3: the label 'label' is empty \(2 rows"),
    "header twice": ("v,v,label\n1,2,a\n", {}, "names \\['v'\\] more than once"),
    "nameless": (",label\n1,a\n2,b\n", {}, "column 1 has no name"),
    "only a label": ("label\na\nb\n", {}, "no columns beside the label"),
    "one class": ("v,label\n1,a\n2,a\n", {}, "all 2 labels are 'a'"),
    "not a number": ("v,label\n1,a\nx,b\n", {"numeric": ("v",)}, "line 3: 'x' in the numeric"),
    "infinite": ("v,label\n1,a\ninf,b\n", {}, "line 3: 'inf' in the numeric"),
    "overflow": ("v,label\n1,a\n1e999,b\n", {}, "line 3: '1e999'"),
    "unknown column": ("v,label\n1,a\n2,b\n", {"text": ("vv",)}, "no column 'vv'.*mean 'v'"),
    "unknown drop": ("v,label\n1,a\n2,b\n", {"drop": ("w",)}, r"no column 'w' \(drop\)"),
    "listed twice": ("v,label\n1,a\n", {"text": ("v",), "numeric": ("v",)}, "list it once"),
    "label as feature": ("v,label\n1,a\n", {"text": ("label",)}, "is the label"),
    "dropped feature": ("v,label\n1,a\n", {"text": ("v",), "drop": ("v",)}, "is dropped"),
    "bad quote": ('v,label\n"a"b,c\n', {}, "line 2: not valid CSV"),
    "open quote": ('v,label\n"a,c\n', {}, "not valid CSV"),
    "delimiter": ("v,label\n1,a\n", {"delimiter": ",,"}, "one character"),
}


@pytest.mark.parametrize(("text", "settings", "message"), REFUSED.values(), ids=REFUSED)
def test_unusable_files_are_refused_with_the_line(tmp_path, text, settings, message):
    with pytest.raises(DataError, match=message):
        load_source(written(tmp_path / "a.csv", text, **settings))


def test_other_bytes_than_utf8_and_paths_that_are_no_file_are_refused(tmp_path):
    (tmp_path / "latin.csv").write_bytes(b"v,label\n\xe9,a\n")
    for name, message in [("latin.csv", "UTF-8"), ("none.csv", "no such"), ("", "directory")]:
        with pytest.raises(DataError, match=message):
            load_source(CsvSource(source="csv", path=tmp_path / name))


def test_a_test_file_with_other_columns_is_refused(tmp_path):
    (tmp_path / "b.csv").write_text("u,label\n1,a\n")
    with pytest.raises(DataError, match=r"missing \['v'\], unexpected \['u'\]"):
        load_source(written(tmp_path / "a.csv", "v,label\n1,a\n", test_path=tmp_path / "b.csv"))


def test_a_word_in_the_test_files_numeric_column_is_refused_with_its_line(tmp_path):
    (tmp_path / "b.csv").write_text("v,label\n1,a\nmany,b\n")
    with pytest.raises(DataError, match=r"b\.csv, line 3: 'many'"):
        load_source(
            written(tmp_path / "a.csv", "v,label\n1,a\n2,b\n", test_path=tmp_path / "b.csv")
        )
