"""`export`, `export_module`, `verify`: a model as a file for a stock runtime.

`export` writes the file of a run and tests it again; `export_module` only writes, for any module
and topology. ONNX, onnxruntime and zstandard are optional packages, so they are imported inside the
functions that need them.
"""

# Importing a module registers its formats; the order here is the order in which they are listed.
from safecompress.export import onnx_format as _onnx  # isort: skip
from safecompress.export import executorch_format as _executorch  # isort: skip
from safecompress.export import openvino_format as _openvino  # isort: skip
from safecompress.export import litert_format as _litert  # isort: skip
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
del _onnx, _executorch, _openvino, _litert, _compact
