"""Reports from the files of a run folder, as pages, tables, and forms that other programs read.

The forms are JUnit XML, Markdown, SARIF and CycloneDX bills of materials. Nothing is measured
here; every figure is read from a file.
"""

from safecompress.report.bom import bill_of_materials
from safecompress.report.evidence import Evidence, read_evidence
from safecompress.report.html import render_report, write_report
from safecompress.report.junit import junit_xml
from safecompress.report.markdown import markdown_summary
from safecompress.report.notebook import table_card, verdict_card
from safecompress.report.sarif import sarif_log
from safecompress.report.summary import render_summary
from safecompress.report.table import table_csv, table_html, table_markdown

__all__ = [
    "Evidence",
    "bill_of_materials",
    "junit_xml",
    "markdown_summary",
    "read_evidence",
    "render_report",
    "render_summary",
    "sarif_log",
    "table_card",
    "table_csv",
    "table_html",
    "table_markdown",
    "verdict_card",
    "write_report",
]
