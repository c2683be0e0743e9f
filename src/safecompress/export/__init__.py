"""The file to ship: small, fast on a stock runtime, and tested again.

`export` writes and tests a run's file; `export_module` only writes, whatever module and topology
it is given. ONNX, onnxruntime and zstandard are loaded when they are needed.
"""

from safecompress.export.formats import FORMATS, Format
from safecompress.export.forms import export_module
from safecompress.export.job import ExportResult, export, verify

__all__ = ["FORMATS", "ExportResult", "Format", "export", "export_module", "verify"]
