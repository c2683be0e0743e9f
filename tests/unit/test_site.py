"""What the site is built from: every page has a place, and every public name and part a page."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import build_site, site_map, site_parts
from scripts.site_api import api_pages, public_modules

import safecompress
from safecompress.cli.kinds import KINDS

API = dict(api_pages())
PARTS = dict(site_parts.part_pages())


def test_every_public_name_is_described_once() -> None:
    described = re.findall(r"^\.\. auto\w+:: safecompress\.(\w+)$", _text(API), re.MULTILINE)
    assert set(safecompress.__all__) - {"__version__"} <= set(described)
    assert len(described) == len(set(described))
    assert {f"reference/api/{name}" for name in public_modules()} <= API.keys()


def test_every_part_has_a_page_with_all_its_options_and_its_source() -> None:
    assert site_parts.TITLES.keys() == KINDS.keys()
    for kind, registry in KINDS.items():
        for part in registry.parts.values():
            page = PARTS[f"reference/{kind}/{part.name}"]
            document = site_parts.part_document(part, kind=kind, given=registry.given)
            for option in document["options"]:
                assert f"| `{option['name']}` |" in page
            assert document["reference"].replace("|", "\\|") in page


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("reference/attacks/rmia", r"\| location30 \| student \| \.\d{3} \| \.\d{3} \| blind \|"),
        ("reference/defenses/hamp", r"\| location30 \| `[\w-]+` \(\w+\) \| \.\d{3} \| vector"),
        ("reference/proposals/student", r"\| location30 \| `[\w-]+` \(\w+\) \| \.\d{3} \| label"),
    ],
)
def test_a_page_says_where_its_part_is_blind(page: str, says: str) -> None:
    assert re.search(says, PARTS[page].partition("## Blind spots")[2])


def test_pages_are_gathered_with_all_that_they_link_to(tmp_path: Path) -> None:
    build_site.gather(tmp_path)
    for page in tmp_path.rglob("*.md"):
        for link in re.findall(r"\]\(([^)#\s:]+)(?:#[^)\s]*)?\)", _prose(page.read_text("utf-8"))):
            assert (page.parent / link).exists(), f"{page.relative_to(tmp_path)}: {link}"
    named = re.findall(r"^/(.+)$", (tmp_path / "index.md").read_text("utf-8"), re.MULTILINE)
    assert all(list(tmp_path.glob(f"{name}.*")) for name in named)
    assert len(named) == len(set(named))


def test_a_link_and_an_anchor_that_lead_nowhere_end_the_build(tmp_path: Path) -> None:
    (tmp_path / "index.md").write_text("# One\n\n[a](#one) [b](#two) [c](no.md) [d](p.md#three)\n")
    (tmp_path / "p.md").write_text("---\norphan: true\n---\n\n# Page\n\n[e](index.md#one)\n")
    command = [sys.executable, "-m", "sphinx", *build_site.STRICT, tmp_path, tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("WARNING") == 3
    assert all(word in done.stderr for word in ("'two'", "'no.md'", "'three'"))


def test_a_page_without_a_place_in_the_navigation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"give .*docs/new"):
        site_map.navigation(_places() | {"docs/new"})
    with pytest.raises(ValueError, match="no page is called docs/audit"):
        site_map.navigation(_places() - {"docs/audit"})


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.html", '<script async src="https://cdn.example/a.js"></script>', True),
        ("a.html", "<link rel='stylesheet' href='//fonts.example/css'>", True),
        ("a.css", "@import url(https://fonts.example/css);", True),
        ("a.html", '<a href="https://example.org">elsewhere</a> <img src="b.png">', False),
        ("a.css", "a { background: url(data:image/png;base64,AAAA) }", False),
    ],
)
def test_what_a_page_loads_from_outside_is_found(
    tmp_path: Path, name: str, text: str, found: bool
) -> None:
    (tmp_path / name).write_text(text)
    assert bool(build_site.loaded_from_outside(tmp_path)) == found


@pytest.mark.parametrize("module", [build_site, site_parts])
def test_the_examples_of_the_scripts_hold(module: object) -> None:
    assert doctest.testmod(module).failed == 0


def _places() -> set[str]:
    files = [*build_site.ROOT.glob("*.md"), *(build_site.ROOT / "docs").rglob("*.*")]
    files += (build_site.ROOT / "benchmarks/results").glob("*.md")
    pages = [f.relative_to(build_site.ROOT) for f in files if f.suffix in (".md", ".ipynb")]
    return {p.with_suffix("").as_posix() for p in pages} - {"README"} | API.keys() | PARTS.keys()


def _prose(text: str) -> str:
    return re.sub(r"^```.*?^```$|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)


def _text(pages: dict[str, str]) -> str:
    return "\n".join(pages.values())
