"""Make the pictures of docs/report.md from a run's report.

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
    address = (run / "report.html").resolve().as_uri()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        for name, width, height, scheme, prepare in (
            ("light", 1100, 900, "light", _top),
            ("dark", 1100, 760, "dark", _curves),
            ("phone", 360, 760, "light", _checks),
            ("print", _PAPER, 990, "light", _paper),
        ):
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
    page.evaluate("document.querySelector('#roc').scrollIntoView()")
    plots = page.locator("#roc svg[data-reads]")
    plots.last.hover(position={"x": 120, "y": 120})


def _checks(page: Page) -> None:
    page.evaluate("document.querySelector('#checks').scrollIntoView()")


def _paper(page: Page) -> None:
    page.emulate_media(media="print")
    page.evaluate("document.querySelector('#comparison').scrollIntoView()")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
