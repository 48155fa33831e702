"""`dfc.nn.from_config`: networks from declarative text, in Caffe's prototxt (Jia et al. 2014)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dfc.errors import InvalidArgument, Unimplemented
from dfc.frontend.module import Module
from dfc.frontend.nn import caffe
from dfc.frontend.nn.prototxt import Message, parse
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.variable import Variable

Shape = tuple[int, ...]
"""A blob's shape without the batch: (channels, *spatial), or (features,), or () for a number an example."""
DATA = ("Data", "ImageData", "HDF5Data", "MemoryData", "DummyData", "Input")
PHASES = {"TRAIN": True, "TEST": False}


@dataclass
class Node:
    """A layer of the file: what runs it, and the blobs that it takes and gives."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    layer: Callable[..., Any]
    training: bool | None
    """The only phase it takes part in; None: both."""


class Net(Module):
    """A network that a text describes: `net(inputs)` runs it.

    `inputs` is a dict of arrays by blob, or one array where there is one input; images are (batch, channels, height,
    width), as the file has them. The result is a dict of the blobs that no layer takes. Input blobs that are missing
    (labels, in serving) leave out the layers that need them. `training` chooses between layers of the phases TRAIN and
    TEST. `multipliers` has the file's factors for each variable's learning rate and weight decay, as (lr_mult,
    decay_mult).
    """

    def __init__(self, name: str, inputs: Mapping[str, Shape]) -> None:
        super().__init__()
        self.title, self.inputs, self._nodes = name, dict(inputs), list[Node]()
        self.parts: dict[str, Module] = {}
        self.multipliers: dict[Variable, tuple[float, float]] = {}

    def add(self, node: Node) -> None:
        """Put a layer at the end."""
        self._nodes.append(node)
        module = module_of(node.layer)
        if module is not None:
            self.parts[node.name.replace("/", "_")] = module
            self.parts = self.parts  # names what is new

    def __call__(self, inputs: Mapping[str, Operand] | Operand, *, training: bool = False) -> dict[str, Tensor]:
        blobs: dict[str, Any] = dict(inputs) if isinstance(inputs, Mapping) else {next(iter(self.inputs)): inputs}
        unknown = sorted(set(blobs) - set(self.inputs))
        if unknown:
            raise InvalidArgument(
                f"{self.title} has no input {', '.join(unknown)}", op="Net", hint=f"it has {', '.join(self.inputs)}"
            )
        taken: set[str] = set()
        for node in self._nodes:
            if node.training not in (None, training) or any(b not in blobs for b in node.bottoms):
                continue
            made = node.layer(*(blobs[b] for b in node.bottoms), training=training)
            taken |= set(node.bottoms) - set(node.tops)
            blobs.update(zip(node.tops, made if isinstance(made, tuple) else (made,), strict=False))
            taken -= set(node.tops)
        return {name: blob for name, blob in blobs.items() if name not in taken and name not in self.inputs}

    def __repr__(self) -> str:
        lines = [f"Net({self.title!r}, inputs={self.inputs})"]
        lines += [f"  {n.name}: {n.type} {', '.join(n.bottoms)} -> {', '.join(n.tops)}" for n in self._nodes]
        return "\n".join(lines)


def module_of(layer: Callable[..., Any]) -> Module | None:
    """The module that holds the variables of a layer, if it has any."""
    if isinstance(layer, caffe.Quiet):
        return layer.module
    return layer if isinstance(layer, Module) else None


def from_config(text: str, inputs: Mapping[str, Sequence[int]] | None = None) -> Net:
    """The network that a prototxt describes, with new weights.

    `inputs` gives the shape of each input blob without the batch, (channels, height, width) or () for labels, where the
    text does not: a data layer's images, for instance. Layers: Convolution, Pooling, InnerProduct, LRN, BatchNorm,
    Scale, Dropout, ReLU, PReLU, ELU, Sigmoid, TanH, AbsVal, Power, Exp, Log, BNLL, Softmax, Concat, Eltwise, Flatten,
    Split, Accuracy, SoftmaxWithLoss, SigmoidCrossEntropyLoss, EuclideanLoss.

    Raises InvalidArgument with the line for text that can't be read, blobs that no layer gives and missing fields,
    Unimplemented for other layers.
    """
    message = parse(text)
    shapes: dict[str, Shape] = {name: tuple(shape) for name, shape in (inputs or {}).items()}
    shapes |= {k: v for k, v in _declared(message).items() if k not in shapes}
    layers = [layer for layer in message.all("layer") if isinstance(layer, Message)]
    if message.all("layers"):
        raise Unimplemented(
            "the text is in Caffe's first format, with `layers`",
            hint="convert it with Caffe's upgrade_net_proto_text",
        )
    given = dict(_inputs(message, layers, shapes))
    net = Net(str(message.get("name", "net")), given)
    known = dict(given)
    for layer in layers:
        if layer.get("type") not in DATA:
            _add(net, layer, known)
    return net


def _declared(message: Message) -> dict[str, Shape]:
    """Input shapes that stand at the top of the text: `input: "data" input_dim: 1 ...` or `input_shape { dim: 1 }`."""
    names = message.all("input")
    dims = message.all("input_dim")
    listed = [dims[i : i + 4] for i in range(0, len(dims), 4)]
    listed += [shape.all("dim") for shape in message.all("input_shape")]
    return {name: tuple(shape[1:]) for name, shape in zip(names, listed, strict=False)}


def _inputs(message: Message, layers: Sequence[Message], shapes: Mapping[str, Shape]) -> list[tuple[str, Shape]]:
    found: dict[str, Shape] = {name: shapes[name] for name in message.all("input") if name in shapes}
    for layer in layers:
        if layer.get("type") not in DATA:
            continue
        own = [shape.all("dim")[1:] for shape in layer.message("input_param").all("shape")]
        crop = layer.message("transform_param").get("crop_size")
        for i, top in enumerate(layer.all("top")):
            if top in shapes:
                found[top] = shapes[top]
            elif own:
                found[top] = tuple(own[min(i, len(own) - 1)])
            elif i > 0:
                found[top] = ()  # labels
            else:
                hint = f"give its shape: inputs={{{top!r}: ({3 if crop else 1}, {crop or 28}, {crop or 28})}}"
                raise InvalidArgument(f"line {layer.line}: the text does not say the shape of {top!r}", hint=hint)
    if not found:
        raise InvalidArgument("the text has no input", hint="add a layer of type Input, or `input:` and `input_dim:`")
    return list(found.items())


def _add(net: Net, layer: Message, shapes: dict[str, Shape]) -> None:
    kind, name = str(layer.get("type", "")), str(layer.get("name", layer.get("type", "")))
    make = caffe.LAYERS.get(kind)
    if make is None:
        raise Unimplemented(
            f"line {layer.line}: layers of type {kind!r} are not known", hint=f"known are {', '.join(caffe.LAYERS)}"
        )
    bottoms, tops = tuple(layer.all("bottom")), tuple(layer.all("top"))
    missing = [b for b in bottoms if b not in shapes]
    if missing or not bottoms or not tops:
        lacking = f"no layer before it gives {', '.join(missing)}" if missing else "it needs a bottom and a top"
        raise InvalidArgument(f"line {layer.line}: layer {name!r}: {lacking}")
    made, shape = make(layer, [shapes[b] for b in bottoms])
    phases = {PHASES[p] for p in (rule.get("phase") for rule in layer.all("include")) if p in PHASES}
    excluded = {PHASES[p] for p in (rule.get("phase") for rule in layer.all("exclude")) if p in PHASES}
    phases = phases or ({True, False} - excluded if excluded else set())
    net.add(Node(name, kind, bottoms, tops, made, next(iter(phases)) if len(phases) == 1 else None))
    shapes.update(dict.fromkeys(tops, shape))
    module = module_of(made)
    if module is not None:
        factors = [(float(p.get("lr_mult", 1.0)), float(p.get("decay_mult", 1.0))) for p in layer.all("param")]
        for variable, pair in zip(module.trainable_variables, factors, strict=False):
            net.multipliers[variable] = pair
