"""A real Chromium with a report in it, and what tests ask of the page."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# Milliseconds after which something that should be there is missed; nothing here takes long.
PATIENCE = 10_000
WATCH_POLICY = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (e) => violations.push(e.effectiveDirective));
"""

# Contrast of every piece of visible text with what lies behind it (WCAG 2), the worst first.
CONTRASTS = """
() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const opaque = (color) => { const c = channels(color); return c.length < 4 || c[3] === 1; };
  const behind = (element) => {
    const rect = element.closest("svg g")?.querySelector(":scope > rect");
    if (rect && element.closest("svg")) return getComputedStyle(rect).fill;
    for (let e = element; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor;
      if (opaque(color)) return color;
      if (channels(color)[3] !== 0) throw new Error(`half transparent: ${color}`);
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const words = walker.currentNode.data.trim(), element = walker.currentNode.parentElement;
    if (!words || element.closest("title, desc, script, style, .sr")) continue;
    if (!element.checkVisibility({ visibilityProperty: true })) continue;
    const style = getComputedStyle(element);
    const front = luminance(channels(element.closest("svg") ? style.fill : style.color));
    const back = luminance(channels(behind(element)));
    const [low, high] = [front, back].sort((a, b) => a - b);
    for (let e = element; e; e = e.parentElement) {
      if (getComputedStyle(e).opacity !== "1") throw new Error(`faded text: ${words}`);
    }
    found.push([(high + 0.05) / (low + 0.05), words]);
  }
  return found.sort((a, b) => a[0] - b[0]);
}
"""

# Opens what the page folds away.
UNFOLD = "document.querySelectorAll('.fold > details').forEach((d) => { d.open = true; })"

# What sticks out of the page sideways, or is cut off by a box that cannot show all of it. A box
# that scrolls is left out where `scrolling` says that there is somebody to scroll it.
CUT_OFF = """
(scrolling) => {
  const width = document.documentElement.clientWidth, found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const style = getComputedStyle(element);
    if (!element.checkVisibility() || element.closest(".sr, .skip")) continue;
    if (style.clipPath !== "none") continue;  // For screen readers alone.
    const name = `${element.tagName}.${element.getAttribute("class") ?? ""}#${element.id}`;
    const scroller = element.parentElement.closest(".scroll, pre");
    const box = element.getBoundingClientRect();
    const inside = element.closest("svg") && element.tagName !== "svg";
    const outside = box.width && (box.right > width + 1 || box.left < -1);
    if (!(scroller && scrolling) && !inside && outside) {
      found.push(`${name} reaches from ${box.left} to ${box.right} of ${width}`);
    }
    const cuts = style.overflowX !== "visible" && !inside;
    const more = element.scrollWidth > element.clientWidth + 1
      || element.scrollHeight > element.clientHeight + 1;
    if (cuts && more && !(scrolling && element.matches(".scroll, pre"))) {
      found.push(`${name} hides a part of itself`);
    }
  }
  return found;
}
"""

TABBABLE = """
() => [...document.querySelectorAll("a[href], button, summary, [tabindex='0']")]
  .filter((e) => e.checkVisibility({ visibilityProperty: true }))
"""


def sheets(document: bytes) -> list[tuple[float, float]]:
    """Return the width and height of every sheet of a PDF that Chromium made, in points.

    Args:
        document: the PDF.
    """
    found = re.findall(rb"/Type /Page\b.*?/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", document, re.DOTALL)
    return [(float(width), float(height)) for width, height in found]


@dataclass
class Opened:
    """A page in the browser; what it said and asked for is collected."""

    page: Any
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def texts(self, selector: str) -> list[str]:
        return [" ".join(t.split()) for t in self.page.locator(selector).all_text_contents()]

    @property
    def violations(self) -> list[str]:
        return list(self.page.evaluate("violations"))


class Browser:
    """Opens a report in contexts of its own: nothing is remembered between two of them."""

    def __init__(self, browser: Any, report: Path) -> None:
        self._browser, self._address = browser, report.as_uri()

    @contextmanager
    def open(
        self, page: Path | None = None, *, width: int = 1280, height: int = 900, **options: Any
    ) -> Iterator[Opened]:
        """Open a page, the report by default; `options` go to Playwright's `new_context`."""
        address = self._address if page is None else page.as_uri()
        context = self._browser.new_context(viewport={"width": width, "height": height}, **options)
        context.add_init_script(WATCH_POLICY)
        context.set_default_timeout(PATIENCE)
        opened = Opened(context.new_page())
        opened.page.on("console", lambda message: opened.console.append(message.text))
        opened.page.on("pageerror", lambda error: opened.console.append(str(error)))
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.goto(address)
        try:
            yield opened
        finally:
            context.close()


@contextmanager
def chromium(report: Path) -> Iterator[Browser]:
    """Start the system's Chromium; skips where there is none.

    Args:
        report: the page that `Browser.open` opens.
    """
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the browser test needs playwright: install the dev extra"
    )
    named = os.environ.get("SAFECOMPRESS_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(
            "the browser test needs Chromium: install it (apt install chromium), or name it in "
            "SAFECOMPRESS_CHROMIUM"
        )
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=list(FLAGS))
        try:
            yield Browser(browser, report)
        finally:
            browser.close()
