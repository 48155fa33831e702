"""Exponentials and logarithms to other bases, and sums of exponentials without overflow. NumPy and SciPy give the
values, 16-bit and 32-bit floats computed in float64."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from xdsl.irdl import irdl_op_definition

from dfc.ir.ops.elementwise import Array
from dfc.ir.ops.special import SpecialBinary, SpecialUnary


@irdl_op_definition
class Exp2(SpecialUnary):
    """2 to the power of x."""

    name = "df.exp2"
    NUMPY: ClassVar = np.exp2


@irdl_op_definition
class Exp10(SpecialUnary):
    """10 to the power of x."""

    name = "df.exp10"
    SCIPY: ClassVar = "exp10"


@irdl_op_definition
class Log2(SpecialUnary):
    """The logarithm to base 2, exact at powers of 2; -inf at 0, NaN below."""

    name = "df.log2"
    NUMPY: ClassVar = np.log2


@irdl_op_definition
class Log10(SpecialUnary):
    """The logarithm to base 10, exact at the powers of 10 that the dtype holds exactly; -inf at 0, NaN below."""

    name = "df.log10"
    NUMPY: ClassVar = np.log10


@irdl_op_definition
class LogAddExp(SpecialBinary):
    """log(exp(x) + exp(y)); infinities are what they are in the limit."""

    name = "df.log_add_exp"
    NUMPY: ClassVar = np.logaddexp


@irdl_op_definition
class Softplus(SpecialUnary):
    """log(1 + exp(x))."""

    name = "df.softplus"

    @classmethod
    def compute(cls, x: Array) -> Array:
        return np.logaddexp(0.0, x)


@irdl_op_definition
class LogLogistic(SpecialUnary):
    """log(1 / (1 + exp(-x)))."""

    name = "df.log_logistic"

    @classmethod
    def compute(cls, x: Array) -> Array:
        return -np.logaddexp(0.0, -x)


@irdl_op_definition
class Logit(SpecialUnary):
    """log(x / (1 - x)), accurate around 1/2; infinite at 0 and 1, NaN outside."""

    name = "df.logit"
    SCIPY: ClassVar = "logit"


@irdl_op_definition
class Xlogy(SpecialBinary):
    """x log(y), and 0 where x is 0 and y is not NaN."""

    name = "df.xlogy"
    SCIPY: ClassVar = "xlogy"


@irdl_op_definition
class Xlog1py(SpecialBinary):
    """x log(1 + y), and 0 where x is 0 and y is not NaN."""

    name = "df.xlog1py"
    SCIPY: ClassVar = "xlog1py"


@irdl_op_definition
class Hypot(SpecialBinary):
    """sqrt(x^2 + y^2), whose squares neither overflow nor vanish; infinite where x or y is, also beside NaN."""

    name = "df.hypot"
    NUMPY: ClassVar = np.hypot
