"""Quantizes the network of a float32 ONNX file to int8; decoding stays in float32."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.errors import ExportError
from vertebra.export.passes.network_nodes import network_nodes
from vertebra.export.suppress_output import suppress_output

QUANTIZED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Concat", "MaxPool", "Resize"})
QUANTIZED |= {"AveragePool", "GlobalAveragePool"}


def to_int8(source: Path, target: Path, canvases: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
    """Quantizes the network's convolutions and linear layers, and the sums and pools between them, to 8-bit integers.

    Weights have a scale per output channel; each map has one scale, from its calibrated range (ONNX Runtime's static quantization,
    `Nagel et al. 2021 <https://arxiv.org/abs/2106.08295>`_).

    Args:
        source: a float32 file.
        target: the file to write.
        canvases: images (1, C, height, width) uint8 and sizes (1, 2) int64 for the calibration.

    Raises:
        ExportError: there is no image, or no layer.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    proto = onnx.load(str(source))
    quantized = [node.name for node in network_nodes(proto.graph) if node.op_type in QUANTIZED]
    if not quantized:
        raise ExportError("the model has no convolution or linear layer that could be quantized")
    reader = _reader(canvases)
    with suppress_output():
        quantize_static(
            str(source),
            str(target),
            reader,
            quant_format=QuantFormat.QDQ,
            nodes_to_quantize=quantized,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )


def _reader(canvases: Iterable[tuple[np.ndarray, np.ndarray]]) -> Any:
    """A reader of calibration data for ONNX Runtime, over the canvases."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # its annotations are not followed
        def __init__(self) -> None:
            self._rest = iter(canvases)

        def get_next(self) -> dict[str, np.ndarray] | None:
            images, sizes = next(self._rest, (None, None))
            return None if images is None or sizes is None else {"images": images, "sizes": sizes}

    return Reader()
