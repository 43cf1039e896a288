"""Which nodes of an ONNX graph are the network: its layers with weights, and what stands between them.

Lower precision is for these alone. What reads boxes out of them, suppresses and sorts, needs float32.
"""

from __future__ import annotations

from typing import Any

LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
BETWEEN = frozenset(
    {"Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Mul", "Add", "Concat", "Resize"}
    | {"MaxPool", "AveragePool", "GlobalAveragePool"}
)


def network_nodes(graph: Any) -> list[Any]:
    """The layers, and the nodes on a way from layers to a layer that is made of simple operations on their maps alone.

    Args:
        graph: an ``onnx.GraphProto`` whose nodes have names.

    Returns:
        Nodes in the order of the graph.
    """
    constant = {value.name for value in graph.initializer}
    constant |= {name for node in graph.node if node.op_type == "Constant" for name in node.output}
    layers = [node for node in graph.node if node.op_type in LAYERS and any(name in constant for name in node.input)]
    known = {node.name for node in layers}
    maps = {name for node in layers for name in node.output}
    for node in graph.node:  # in an order in which a node comes after what it reads
        if node.op_type in BETWEEN and _reads_only(node, maps, constant):
            known.add(node.name)
            maps.update(node.output)
    wanted = {name for node in layers for name in node.input}
    kept = {node.name for node in layers}
    for node in reversed(graph.node):
        if node.name in known and any(name in wanted for name in node.output):
            kept.add(node.name)
            wanted.update(node.input)
    return [node for node in graph.node if node.name in kept]


def _reads_only(node: Any, maps: set[str], constant: set[str]) -> bool:
    """Whether a node's maps are the network's; the sizes of a ``Resize`` may come from anywhere."""
    inputs = list(node.input[:1] if node.op_type == "Resize" else node.input)
    return any(name in maps for name in inputs) and all(name in maps or name in constant or not name for name in inputs)
