"""Readers of a run folder's files: the HTML page and JUnit XML. Nothing is measured here."""

from safecompress.report.html import render_report, write_report
from safecompress.report.junit import junit_xml

__all__ = ["junit_xml", "render_report", "write_report"]
