"""Convolutions."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def

from dfc.errors import InvalidArgument, InvalidType
from dfc.ir.attributes import Dims, Int, Ints
from dfc.ir.dims import Dim, divides
from dfc.ir.op import Arrays, Attributes, Op, Types
from dfc.ir.ops.elementwise import NUMERIC, require_kind
from dfc.ir.ops.shape import Pad
from dfc.ir.types import Spec, spec_of, tensor_type
from dfc.ir.windows import Sliding, tap

Array = np.ndarray[Any, Any]


@irdl_op_definition
class Convolution(Op):
    """Sums of products of a kernel, rhs, with what it covers of lhs, at every place of the kernel. The kernel is not
    reversed (as everywhere in machine learning).

    Where the axes are is told by attributes, so that no layout costs a transpose: `lhs_axes` and `result_axes` are
    (batch, feature, spatial...), `rhs_axes` is (output feature, input feature, spatial...). For each spatial axis:
    `strides` of the kernel, `low` and `high` padding with zeros (negative removes elements), `lhs_dilation` and
    `rhs_dilation` (elements are so far apart). With `feature_groups` g, output features come in g runs, and each sees
    one of g runs of lhs's features only. With `batch_groups` g, the g runs of output features see one of g runs of
    lhs's batch each, and the result has a g-th of the batch.

    C1: equal dtypes. C2: numeric. C3: equal ranks, at least 2, and axes that name each axis once. C4: one stride,
    padding and dilation a spatial axis. C5: strides and dilations are positive. C6: groups are positive, and one kind
    of them at most. C7: lhs's features are rhs's input features times `feature_groups`. C8: groups divide rhs's
    output features and lhs's batch. C9: the kernel isn't empty. C10: padding doesn't remove more than there is.
    """

    name = "df.convolution"
    KINDS: ClassVar[tuple[str, ...]] = NUMERIC
    lhs_axes = prop_def(Ints)
    rhs_axes = prop_def(Ints)
    result_axes = prop_def(Ints)
    strides = prop_def(Ints)
    low = prop_def(Dims)
    high = prop_def(Dims)
    lhs_dilation = prop_def(Ints)
    rhs_dilation = prop_def(Ints)
    feature_groups = prop_def(Int)
    batch_groups = prop_def(Int)
    lhs = operand_def()
    rhs = operand_def()
    result = result_def()

    @classmethod
    def infer(cls, operands: Types, attributes: Attributes) -> Types:
        lhs, rhs = (spec_of(t) for t in operands)
        if lhs.dtype is not rhs.dtype:
            raise InvalidType(f"operands must have equal dtypes, got {lhs.dtype} and {rhs.dtype}", label="C1")
        require_kind(lhs.dtype, cls.KINDS, "C2")
        _require_geometry(lhs, rhs, attributes)
        batch, outputs = _require_groups(lhs, rhs, attributes)
        sizes: list[Dim] = [batch, outputs]
        for slide in slides(lhs.shape, rhs.shape, attributes):
            if slide.size == 0:
                raise InvalidArgument(f"the kernel's spatial sizes must not be 0, got {rhs}", label="C9")
            if isinstance(slide.padded, int) and slide.padded < 0:
                raise InvalidArgument(
                    f"padding {slide.low} and {slide.high} removes more than the {slide.extent} elements of an axis",
                    label="C10",
                )
            sizes.append(slide.positions)
        shape = dict(zip(attributes["result_axes"], sizes, strict=True))
        return (tensor_type(tuple(shape[i] for i in range(len(shape))), lhs.dtype),)

    @staticmethod
    def evaluate(operands: Arrays, attributes: Attributes) -> Arrays:
        lhs, rhs = operands
        dtype = lhs.dtype
        if dtype.itemsize == 2 and dtype.kind not in "iu":  # 16-bit floats accumulate in float32
            lhs, rhs = lhs.astype(np.float32), rhs.astype(np.float32)
        x, kernel = lhs.transpose(attributes["lhs_axes"]), rhs.transpose(attributes["rhs_axes"])
        places = slides(lhs.shape, rhs.shape, attributes)
        low, high = (0, 0, *attributes["low"]), (0, 0, *attributes["high"])
        interior = (0, 0, *(d - 1 for d in attributes["lhs_dilation"]))
        zero = np.zeros((), x.dtype)
        (x,) = Pad.evaluate([x, zero], {"low": low, "high": high, "interior": interior})
        batch, features, bg, fg = x.shape[0], x.shape[1], attributes["batch_groups"], attributes["feature_groups"]
        outputs, inputs = kernel.shape[:2]
        groups, sizes = bg * fg, [int(s.positions) for s in places]
        total = np.zeros((bg, batch // bg, fg, outputs // groups, int(np.prod(sizes))), x.dtype)
        with np.errstate(all="ignore"):
            for index in np.ndindex(*kernel.shape[2:]):
                seen = x[(slice(None), slice(None), *tap(index, places))]
                seen = seen.reshape(bg, batch // bg, fg, features // fg, total.shape[-1])
                weights = kernel[(slice(None), slice(None), *index)].reshape(bg, 1, fg, outputs // groups, inputs)
                total += np.matmul(weights, seen)
            total = np.moveaxis(total, 0, 1).reshape(batch // bg, outputs, *sizes)
            return [total.transpose(np.argsort(attributes["result_axes"])).astype(dtype)]


def slides(lhs: tuple[Any, ...], rhs: tuple[Any, ...], attributes: Attributes) -> list[Sliding]:
    """How the kernel moves along each spatial axis, from the shapes of lhs and rhs."""
    return [
        Sliding(lhs[i], rhs[k], *rest)
        for i, k, *rest in zip(
            attributes["lhs_axes"][2:],
            attributes["rhs_axes"][2:],
            *(attributes[name] for name in ("strides", "low", "high", "lhs_dilation", "rhs_dilation")),
            strict=True,
        )
    ]


def _require_geometry(lhs: Spec, rhs: Spec, attributes: Attributes) -> None:
    rank = len(lhs.shape)
    axes = [attributes[name] for name in ("lhs_axes", "rhs_axes", "result_axes")]
    every = list(range(rank))
    if rank < 2 or len(rhs.shape) != rank or any(sorted(a) != every for a in axes):
        raise InvalidArgument(
            f"operands need one rank of at least 2 and lists of all axes, got {lhs} and {rhs} with axes "
            f"{axes[0]}, {axes[1]} and {axes[2]}",
            label="C3",
        )
    lists = [attributes[name] for name in ("strides", "low", "high", "lhs_dilation", "rhs_dilation")]
    if any(len(entries) != rank - 2 for entries in lists):
        raise InvalidArgument(
            f"one stride, padding and dilation for each of {rank - 2} spatial axes is needed, got strides {lists[0]}, "
            f"low {lists[1]}, high {lists[2]}, dilations {lists[3]} and {lists[4]}",
            label="C4",
        )
    if any(n < 1 for entries in (lists[0], lists[3], lists[4]) for n in entries):
        raise InvalidArgument(
            f"strides and dilations must be positive, got strides {lists[0]}, dilations {lists[3]} and {lists[4]}",
            label="C5",
        )


def _require_groups(lhs: Spec, rhs: Spec, attributes: Attributes) -> tuple[Dim, Dim]:
    """The result's batch size and number of features."""
    by_feature, by_batch = attributes["feature_groups"], attributes["batch_groups"]
    if by_feature < 1 or by_batch < 1 or (by_feature > 1 and by_batch > 1):
        raise InvalidArgument(
            f"groups must be positive and of one kind, got {by_feature} of features and {by_batch} of the batch",
            label="C6",
        )
    (n, features), (outputs, inputs) = (
        (spec.shape[axes[0]], spec.shape[axes[1]])
        for spec, axes in ((lhs, attributes["lhs_axes"]), (rhs, attributes["rhs_axes"]))
    )
    if features != inputs * by_feature:
        times = f" in {by_feature} groups" if by_feature > 1 else ""
        raise InvalidArgument(
            f"lhs's features must match the kernel's inputs, got {features} and {inputs}{times} of {lhs} and {rhs}",
            label="C7",
        )
    batch = divides(by_batch, n)
    if batch is None or divides(by_feature * by_batch, outputs) is None:
        raise InvalidArgument(
            f"groups must divide the kernel's outputs and the batch, got {by_feature} groups of features and "
            f"{by_batch} of the batch for {outputs} outputs and a batch of {n}",
            label="C8",
        )
    return batch, outputs
