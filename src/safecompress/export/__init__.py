"""The file to ship: small, fast on a stock runtime, and tested again.

`export` writes and tests a run's file; `export_module` only writes, whatever module and topology
it is given. ONNX, onnxruntime and zstandard are loaded when they are needed.
"""

# The formats, which register themselves, in the order in which they are listed.
from safecompress.export import onnx_format as _onnx  # isort: skip
from safecompress.export import executorch_format as _executorch  # isort: skip
from safecompress.export import compact_format as _compact  # isort: skip
from safecompress.export.context import ExportContext
from safecompress.export.format import Format, Session
from safecompress.export.job import ExportResult, export, verify
from safecompress.export.registry import FORMATS
from safecompress.export.write_file import export_module

__all__ = [
    "FORMATS",
    "ExportContext",
    "ExportResult",
    "Format",
    "Session",
    "export",
    "export_module",
    "verify",
]
del _onnx, _executorch, _compact
