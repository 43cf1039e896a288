"""Selects the nodes of an ONNX graph that form the network: layers with weights, and simple operations between them.

Only these are converted to lower precision. Box decoding, suppression and sorting need float32.
"""

from __future__ import annotations

from typing import Any

LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
BETWEEN = frozenset(
    {"Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Mul", "Add", "Concat", "Resize"}
    | {"MaxPool", "AveragePool", "GlobalAveragePool"}
)


def network_nodes(graph: Any) -> list[Any]:
    """The layers with weights, and the nodes between them that are simple operations on their maps only.

    Args:
        graph: an ``onnx.GraphProto`` whose nodes have names.

    Returns:
        Nodes in the order of the graph.
    """
    constant = {value.name for value in graph.initializer}
    constant |= {name for node in graph.node if node.op_type == "Constant" for name in node.output}
    layers = [node for node in graph.node if node.op_type in LAYERS and any(name in constant for name in node.input)]
    candidates = {node.name for node in layers}
    maps = {name for node in layers for name in node.output}
    for node in graph.node:  # in topological order
        if node.op_type in BETWEEN and _reads_only(node, maps, constant):
            candidates.add(node.name)
            maps.update(node.output)
    read = {name for node in layers for name in node.input}
    kept = {node.name for node in layers}
    for node in reversed(graph.node):
        if node.name in candidates and any(name in read for name in node.output):
            kept.add(node.name)
            read.update(node.input)
    return [node for node in graph.node if node.name in kept]


def _reads_only(node: Any, maps: set[str], constant: set[str]) -> bool:
    """Whether all maps that a node reads belong to the network; the sizes of a ``Resize`` may come from anywhere."""
    inputs = list(node.input[:1] if node.op_type == "Resize" else node.input)
    return any(name in maps for name in inputs) and all(name in maps or name in constant or not name for name in inputs)
