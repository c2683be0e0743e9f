"""Make the pictures of docs/report.md from a run's report and its summary.

    safecompress demo
    python scripts/report_pictures.py runs/demo docs/images

Needs the dev extra and a Chromium on the path.
"""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

_PAPER = 703  # px: the width of A4 inside the report's margins


def main(run: Path, out: Path) -> None:
    """Write four PNG files, each well below 200 kB.

    Args:
        run: folder of a finished run.
        out: folder of the pictures.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        for name, page, width, height, scheme, prepare in (
            ("light", "report.html", 1280, 800, "light", _top),
            ("phone", "report.html", 390, 844, "light", _top),
            ("dark", "report.html", 1100, 760, "dark", _curves),
            ("summary", "summary.html", _PAPER, 964, "light", _paper),
        ):
            address = (run / page).resolve().as_uri()
            picture = _shot(browser, address, (width, height), scheme, prepare)
            picture.save(out / f"report-{name}.png", optimize=True)
        browser.close()


def _shot(
    browser: Browser,
    address: str,
    size: tuple[int, int],
    scheme: str,
    prepare: Callable[[Page], None],
) -> Image.Image:
    page = browser.new_page(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, reduced_motion="reduce"
    )
    page.goto(address)
    prepare(page)
    picture = Image.open(io.BytesIO(page.screenshot()))
    page.close()
    # Octrees keep rare colors, such as a curve's.
    return picture.convert("RGB").quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


def _top(page: Page) -> None:
    page.mouse.move(0, 0)


def _curves(page: Page) -> None:
    page.evaluate("document.querySelector('#roc details').open = true")
    page.evaluate("document.querySelector('#roc').scrollIntoView()")
    plots = page.locator("#roc svg[data-reads]")
    plots.last.hover(position={"x": 120, "y": 120})


def _paper(page: Page) -> None:
    page.emulate_media(media="print")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
