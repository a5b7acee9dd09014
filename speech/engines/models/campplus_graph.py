"""Make `campplus_graph.onnx`, which computes what `campplus.onnx` does in three quarters of the time.

    python speech/engines/models/campplus_graph.py

Needs onnx. The result has no weights: it refers to bytes of `campplus.onnx`, which must lie beside it. It differs thus:

- The context of a layer (mean of the window, and of each 100 frames) is one product with a matrix that all layers
  share. The attention is computed once per 100 frames and then repeated, not computed for each frame.
- Convolutions over time have a second axis of length 1, because onnxruntime's fastest layout is for two axes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.helper import make_node
from onnx.numpy_helper import from_array

HERE = Path(__file__).parent
WEIGHTS = HERE / "campplus.onnx"
SEGMENT = 100
"""Frames that share an attention, after the first convolution has halved their number."""
SMALLEST_SHARED = 1_024
"""Bytes: onnxruntime reads small constants while it loads the graph."""
CONSTANTS = {
    "zero": np.array(0, np.int64), "one": np.array(1, np.int64), "segment": np.array(SEGMENT, np.int64),
    "last_of_segment": np.array(SEGMENT - 1, np.int64), "off_on": np.array([0, 1], np.float32),
    "over_frames": np.array([0], np.int64), "height": np.array([2], np.int64), "time": np.array(3, np.int64),
}  # fmt: skip


def main() -> None:
    model = onnx.load(WEIGHTS)
    graph = model.graph
    nodes = list(graph.node)
    first = next(node for node in nodes if node.name == "/xvector/tdnn/linear/Conv")
    last = next(node for node in nodes if node.name == "/xvector/out_nonlinear/relu/Relu")
    nodes += [*two_axes(graph, nodes, first, last), *segments(first.output[0]), *attention(nodes)]
    graph.initializer.extend(from_array(value, name) for name, value in CONSTANTS.items())
    kept = needed(nodes, graph.output[0].name)
    used = {name for node in kept for name in node.input}
    weights = [one for one in graph.initializer if one.name in used]
    share(weights)
    for field, values in ((graph.node, in_order(kept, graph)), (graph.initializer, weights), (graph.value_info, ())):
        del field[:]
        field.extend(values)
    target = HERE / "campplus_graph.onnx"
    target.write_bytes(model.SerializeToString(deterministic=True))
    onnx.checker.check_model(str(target))


def two_axes(graph: Any, nodes: list[Any], first: Any, last: Any) -> Iterator[Any]:
    """Give everything from `first` to `last` a height of 1: shape (batch, channels, 1, frames)."""
    weights = {one.name: one for one in graph.initializer}
    for node in nodes:
        if node.op_type != "Conv" or not node.name.startswith("/xvector/") or "/dense/" in node.name:
            continue
        dims = weights[node.input[1]].dims
        if len(dims) == 3:
            dims.insert(2, 1)
        for one in node.attribute:
            if one.name in ("kernel_shape", "strides", "dilations"):
                one.ints.insert(0, 1)
            if one.name == "pads":
                before, after = one.ints
                one.ints[:] = [0, before, 0, after]
    yield make_node("Unsqueeze", [first.input[0], "height"], ["frames"])
    first.input[0] = "frames"
    yield make_node("Squeeze", ["pooled", "height"], [last.output[0]])
    last.output[0] = "pooled"


def segments(frames: str) -> Iterator[Any]:
    """The matrices `context`, (t, s): mean of all t frames plus mean of each segment; and `repeat`, (s, t)."""
    yield make_node("Shape", [frames], ["shape"])
    yield make_node("Gather", ["shape", "time"], ["t"], axis=0)
    yield make_node("Range", ["zero", "t", "one"], ["frame"])
    yield make_node("Div", ["frame", "segment"], ["segment_of_frame"])
    yield make_node("Add", ["t", "last_of_segment"], ["t_up"])
    yield make_node("Div", ["t_up", "segment"], ["s"])
    yield make_node("OneHot", ["segment_of_frame", "s", "off_on"], ["inside"], axis=-1)
    yield make_node("Transpose", ["inside"], ["repeat"], perm=[1, 0])
    yield make_node("ReduceSum", ["inside", "over_frames"], ["length"], keepdims=1)
    yield make_node("Div", ["inside", "length"], ["segment_mean"])
    yield make_node("Cast", ["t"], ["t_float"], to=onnx.TensorProto.FLOAT)
    yield make_node("Reciprocal", ["t_float"], ["mean"])
    yield make_node("Add", ["segment_mean", "mean"], ["context"])


def attention(nodes: list[Any]) -> Iterator[Any]:
    """Each layer's attention from `context`, repeated by `repeat`."""
    named = {node.name: node for node in nodes}
    for mean in [node for node in nodes if node.op_type == "ReduceMean" and "/cam_layer/" in node.name]:
        layer = mean.name.rpartition("/")[0]
        yield make_node("MatMul", [mean.input[0], "context"], [f"{layer}/context"])
        named[f"{layer}/linear1/Conv"].input[0] = f"{layer}/context"
        sigmoid = named[f"{layer}/sigmoid/Sigmoid"].output[0]
        yield make_node("MatMul", [sigmoid, "repeat"], [f"{layer}/attention"])
        product = named[f"{layer}/Mul_1"]
        product.input[:] = [f"{layer}/attention" if name == sigmoid else name for name in product.input]


def needed(nodes: list[Any], output: str) -> list[Any]:
    """The nodes on which the output depends."""
    producer = {name: node for node in nodes for name in node.output}
    waiting, found = [output], set[str]()
    while waiting:
        if (name := waiting.pop()) in producer and name not in found:
            found |= set(producer[name].output)
            waiting += producer[name].input
    return [node for node in nodes if node.output[0] in found]


def in_order(nodes: list[Any], graph: Any) -> list[Any]:
    """Each node after those that it reads."""
    known = {one.name for one in (*graph.input, *graph.initializer)} | {""}
    ordered: list[Any] = []
    while len(ordered) < len(nodes):
        for node in nodes:
            if node.output[0] not in known and known.issuperset(node.input):
                known |= set(node.output)
                ordered.append(node)
    return ordered


def share(weights: list[Any]) -> None:
    """Replace the values by their place in the file of the weights."""
    data = WEIGHTS.read_bytes()
    for one in weights:
        if len(one.raw_data) >= SMALLEST_SHARED:
            place = {"location": WEIGHTS.name, "offset": data.index(one.raw_data), "length": len(one.raw_data)}
            one.ClearField("raw_data")
            one.data_location = onnx.TensorProto.EXTERNAL
            one.external_data.extend(onnx.StringStringEntryProto(key=key, value=str(place[key])) for key in place)


if __name__ == "__main__":
    main()
