"""Emission of convolutions."""

from __future__ import annotations

from jaxlib.mlir.dialects import stablehlo

from dfc.backends.stablehlo.emit import Emitter, integer, integers, pairs
from dfc.backends.stablehlo.rules import Value, rule
from dfc.ir.ops.convolution import Convolution


@rule(Convolution)
def convolution(emitter: Emitter, op: Convolution, operands: list[Value]) -> list[Value]:
    lhs, rhs, result = (list(axes.data) for axes in (op.lhs_axes, op.rhs_axes, op.result_axes))
    numbers = stablehlo.ConvDimensionNumbers.get(
        input_batch_dimension=lhs[0],
        input_feature_dimension=lhs[1],
        input_spatial_dimensions=lhs[2:],
        kernel_output_feature_dimension=rhs[0],
        kernel_input_feature_dimension=rhs[1],
        kernel_spatial_dimensions=rhs[2:],
        output_batch_dimension=result[0],
        output_feature_dimension=result[1],
        output_spatial_dimensions=result[2:],
    )
    attributes = {
        "dimension_numbers": numbers,
        "window_strides": integers(op.strides.data),
        "padding": pairs(list(zip(op.low.data, op.high.data, strict=True))),
        "lhs_dilation": integers(op.lhs_dilation.data),
        "rhs_dilation": integers(op.rhs_dilation.data),
        "feature_group_count": integer(op.feature_groups.data),
        "batch_group_count": integer(op.batch_groups.data),
    }
    return [emitter.create("stablehlo.convolution", emitter.type(op.result.type), operands, attributes)]
