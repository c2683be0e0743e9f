"""Readers of a run folder's files: the HTML page and JUnit XML. Nothing is measured here."""

from safecompress.report.html import render_report, write_report
from safecompress.report.junit import junit_xml
from safecompress.report.markdown import markdown_summary

__all__ = ["junit_xml", "markdown_summary", "render_report", "write_report"]
