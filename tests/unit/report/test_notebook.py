"""Results in a notebook: what they show, and that nothing in them becomes markup."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from safecompress import audit, compare_runs
from safecompress.report import table_card, verdict_card
from tests.recorded_outputs import arrays, saved

PLANTED = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


class Page(HTMLParser):
    """The tags, attributes and text of a piece of HTML."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[Any, ...]]] = []
        self.words: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, tuple(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = tmp_path_factory.mktemp("notebook")
    return audit(saved(place, arrays(60)), out=place / "a <b> audit")


def planted(value: Any) -> Any:
    if isinstance(value, str):
        return value + PLANTED
    if isinstance(value, dict):
        return {key: planted(item) for key, item in value.items()}
    return [planted(item) for item in value] if isinstance(value, list | tuple) else value


def test_it_shows_word_sentence_checks_and_what_to_do_next(found: Any) -> None:
    page = Page(found._repr_html_())
    document = found.verdict.document
    assert found.verdict.status.lower() in page.text
    for words in (document.sentence, *document.next_steps):
        assert " ".join(words.split()) in page.text
    for check in document.checks[:40]:
        assert check.name in page.text
    assert not any(tag in {"script", "link", "iframe"} for tag, _ in page.tags)


def test_the_report_is_linked_by_an_address_that_leads_to_it(
    found: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for here, begin in ((found.folder.parent, "./"), (tmp_path, "file://")):
        monkeypatch.chdir(here)
        (address,) = [dict(a)["href"] for tag, a in Page(found._repr_html_()).tags if tag == "a"]
        assert address.startswith(begin)
        path = unquote(address.removeprefix("file://"))
        assert (here / path).resolve() == (found.folder / "report.html").resolve()
    assert "<a" not in found.verdict._repr_html_()


def test_planted_markup_comes_out_as_text(found: Any) -> None:
    document = found.verdict.document.to_json()
    plain = Page(verdict_card(document, kind="Audit"))
    page = Page(verdict_card(planted(document), kind="Audit"))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert not any(name.startswith("on") for _, attrs in page.tags for name, _ in attrs)
    assert PLANTED in page.text


def test_a_comparison_is_shown_and_escaped_too(found: Any) -> None:
    table = compare_runs([found.folder])
    page = Page(table._repr_html_())
    assert table.rows[0].method in page.text
    assert f"{table.rows[0].strongest.attack}" in page.text
    hostile = Page(table_card(planted(table.to_json())))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in page.tags]


def test_text_takes_the_colors_of_the_page_and_badges_bring_both_of_theirs(found: Any) -> None:
    style = found._repr_html_().partition("<style>")[2].partition("</style>")[0]
    rules = [rule for rule in style.splitlines() if "color: #" in rule or "background: #" in rule]
    assert rules
    assert all(".b" in rule.partition("{")[0] for rule in rules)
    assert "color: #fff; background: #" in style
    lines = [line for line in style.splitlines() if line.strip()]
    assert all(line.startswith(".safecompress-card") for line in lines)


def test_the_plain_forms_are_one_line_with_the_verdict(found: Any) -> None:
    for shown in (repr(found), repr(found.verdict)):
        assert found.verdict.status in shown
        assert found.verdict.sentence in shown
    assert str(found.folder) in repr(found)
