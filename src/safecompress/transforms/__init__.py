"""Changes of a candidate that keep its parameters' names and shapes: fewer bits, fewer channels.

In the loop both are arithmetic on plain fp32 tensors. Integers and smaller layers are made once, at
export (`codes`, `remove_channels`).
"""

from __future__ import annotations

from safecompress.transforms.channels import ChannelGroup, Channels
from safecompress.transforms.cluster import Clustered, cluster_weights, clustered
from safecompress.transforms.exportable import Exportable, exportable
from safecompress.transforms.inputs import InputQuantizer, attach_, input_quantizers, ranges_of
from safecompress.transforms.low_rank import factorize
from safecompress.transforms.quantize import (
    WEIGHT_BITS,
    affine,
    clipped,
    codes,
    quantized,
    quantized_inputs,
    quantized_values,
    weight_scale,
)
from safecompress.transforms.reduce import REDUCIBLE, remove_channels, remove_from_topology
from safecompress.transforms.state import PLAIN, Quantization, Transforms

__all__ = [
    "PLAIN",
    "REDUCIBLE",
    "WEIGHT_BITS",
    "ChannelGroup",
    "Channels",
    "Clustered",
    "Exportable",
    "InputQuantizer",
    "Quantization",
    "Transforms",
    "affine",
    "attach_",
    "clipped",
    "cluster_weights",
    "clustered",
    "codes",
    "exportable",
    "factorize",
    "input_quantizers",
    "quantized",
    "quantized_inputs",
    "quantized_values",
    "ranges_of",
    "remove_channels",
    "remove_from_topology",
    "weight_scale",
]
