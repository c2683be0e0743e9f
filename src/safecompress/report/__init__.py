"""Reports from the files of a run folder: HTML, JUnit XML, Markdown and tables.

Nothing is measured here; every figure is read from a file.
"""

from safecompress.report.html import render_report, write_report
from safecompress.report.junit import junit_xml
from safecompress.report.markdown import markdown_summary
from safecompress.report.table import table_csv, table_html, table_markdown

__all__ = [
    "junit_xml",
    "markdown_summary",
    "render_report",
    "table_csv",
    "table_html",
    "table_markdown",
    "write_report",
]
