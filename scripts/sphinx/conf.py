"""Sphinx's settings for the site; `scripts/build_site.py` runs it on the pages that it gathered."""

import re
import textwrap
from typing import Any

from safecompress_command import __version__

project = "SafeCompress"
author = copyright = "The SafeCompress contributors"  # noqa: A001 - Sphinx's name
release = version = __version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "index"

# Markdown as GitHub shows it: headings are anchors, and tables may be wide.
myst_enable_extensions = ["tasklist"]
myst_heading_anchors = 4
# Notebooks are shown with the outputs that they are committed with.
nb_execution_mode = "off"
# Widgets would be loaded from outside, and no notebook has any.
nb_ipywidgets_js = {}

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
# A class that two modules publish, such as `Splits`, is meant wherever it is linked.
suppress_warnings = ["ref.python"]

html_theme = "furo"
html_title = "SafeCompress"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "monokai"

_BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`[^`]+`)")


def setup(app: Any) -> None:
    """Have Sphinx read docstrings as they are written."""
    app.connect("autodoc-process-docstring", _as_restructured_text, priority=0)


def _as_restructured_text(*arguments: Any) -> None:
    """Turn a docstring's code, which is marked as in Markdown, into that of Sphinx.

    Outside of code, bars and asterisks are what they are, such as |w| and a factor's sign.
    """
    lines: list[str] = arguments[-1]
    parts = _BLOCK.split("\n".join(lines))
    parts[::2] = map(_inline, parts[::2])
    parts[1::2] = ["::\n\n" + textwrap.indent(block, "    ") for block in parts[1::2]]
    lines[:] = "".join(parts).split("\n")


def _inline(text: str) -> str:
    parts = _CODE.split(text)
    parts[::2] = [re.sub(r"([|*])", r"\\\1", part) for part in parts[::2]]
    # An escaped blank lets a word go on right after code, as in the plural of a name.
    parts[1::2] = [f"`{part}`\\ " for part in parts[1::2]]
    return "".join(parts)
