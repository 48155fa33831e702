"""Large tables of rows: look-up, and the soft-max over a sample of classes."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes

from dfc.errors import InvalidArgument
from dfc.frontend.generator import default_generator
from dfc.frontend.immediate import operation
from dfc.frontend.nn.losses import softmax_cross_entropy
from dfc.frontend.ops.constant import arange, asarray
from dfc.frontend.ops.elementwise import (
    astype,
    compare,
    exp,
    expm1,
    floor,
    floor_divide,
    log,
    log1p,
    minimum,
    remainder,
    rsqrt,
    square,
    stop_gradient,
    where,
)
from dfc.frontend.ops.indexing import indices_in, take
from dfc.frontend.ops.linalg import matmul
from dfc.frontend.ops.random import uniform
from dfc.frontend.ops.reduction import any as reduce_any
from dfc.frontend.ops.reduction import sum as reduce_sum
from dfc.frontend.ops.segment import dynamic_partition, dynamic_stitch
from dfc.frontend.ops.shape import concat, error_here, expand_dims, matrix_transpose, reshape
from dfc.frontend.promotion import tensor_in
from dfc.frontend.tensor import Operand, Tensor
from dfc.frontend.tracing import current
from dfc.ir.dtypes import DType, int32
from dfc.ir.ops.random import RandomLogUniformCandidates
from dfc.ir.ops.shape import Iota
from dfc.ir.types import spec_of


@operation
def embedding_lookup(
    table: Any, ids: Operand, /, *, max_norm: float | None = None, partition_strategy: str = "mod"
) -> Tensor:
    """The rows of `table` that `ids` name: shape (*ids.shape, *table.shape[1:]). Only these rows are read; one outside
    the table is zeros.

    `table` may be a list of P tables that hold the rows together: with the strategy "mod" row i is row i div P of table
    i mod P, with "div" the first table holds the first rows, and so on, where the first (rows mod P) tables are one row
    longer than the others. Each table is asked for its own rows only. With `max_norm`, rows whose Euclidean norm is
    larger are scaled down to it. Raises InvalidType for ids that aren't integers, InvalidArgument for another strategy,
    a scalar table, or a max_norm that isn't positive.
    """
    trace = current()
    assert trace is not None
    name = "embedding_lookup"
    if partition_strategy not in ("mod", "div"):
        raise error_here(InvalidArgument, f"Unrecognized partition strategy: {partition_strategy!r}", name)
    if max_norm is not None and not max_norm > 0:
        raise error_here(InvalidArgument, f"max_norm must be positive, got {max_norm}", name)
    places = indices_in(trace, ids, name)
    shards = _shards(table)
    if len(shards) == 1:
        rows = take(shards[0], places, axis=0)
    else:
        rows = _from_shards([tensor_in(trace, shard) for shard in shards], places, partition_strategy)
    return rows if max_norm is None else _clipped(rows, places.ndim, max_norm)


def _shards(table: Any) -> list[Any]:
    """A list of tables as it is, a table as a list of one; a nested list of numbers is a table."""
    if isinstance(table, list | tuple) and table and all(hasattr(shard, "shape") for shard in table):
        return list(table)
    return [table]


def _from_shards(tables: list[Tensor], ids: Tensor, strategy: str) -> Tensor:
    """Partition the ids by table, look up, and stitch (paper, section 4.2)."""
    count, flat = len(tables), reshape(ids, (-1,))
    if strategy == "mod":
        owner, row = remainder(flat, count), floor_divide(flat, count)
    else:
        heights = [table.shape[0] for table in tables]
        total = sum(heights)
        if not isinstance(total, int):
            raise error_here(InvalidArgument, f"the numbers of rows must be static, got {heights}", "embedding_lookup")
        short, longer = divmod(total, count)
        bound = longer * (short + 1)  # the rows of the longer tables
        behind = flat - longer
        owner = where(flat < bound, floor_divide(flat, short + 1), floor_divide(behind, max(short, 1)))
        row = where(flat < bound, remainder(flat, short + 1), remainder(behind, max(short, 1)))
    order = arange(flat.shape[0])
    parts, places = dynamic_partition(row, owner, count), dynamic_partition(order, owner, count)
    found = [take(table, part, axis=0) for table, part in zip(tables, parts, strict=True)]
    stitched = dynamic_stitch(places, found, size=flat.shape[0])
    return reshape(stitched, (*ids.shape, *tables[0].shape[1:]))


def _clipped(rows: Tensor, first: int, max_norm: float) -> Tensor:
    """Rows, whose axes begin at `first`, with no norm above max_norm."""
    length = reduce_sum(square(rows), axis=tuple(range(first, rows.ndim)), keepdims=True)
    long = length > max_norm * max_norm
    return where(long, rows * (rsqrt(where(long, length, 1)) * max_norm), rows)


@operation
def log_uniform_candidate_sampler(
    true_classes: Operand, num_sampled: int, range_max: int, *, unique: bool = True, key: Operand | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """A sample of the classes below `range_max`, class k with probability P(k) = log((k + 2) / (k + 1)) / log(range_max
    + 1): right where classes are in order of falling frequency, as words of a vocabulary are.

    Gives the sampled classes (num_sampled,), int32, and how often each true class (any shape) and each sampled one is
    expected in such a sample. With `unique` draws go on until `num_sampled` different classes have come, n say, and
    the expected count is 1 - (1 - P)^n; otherwise it is num_sampled * P. Raises InvalidArgument for num_sampled < 1,
    or more unique ones than there are classes.
    """
    trace = current()
    assert trace is not None
    if not num_sampled > 0 or (unique and num_sampled > range_max):
        raise error_here(
            InvalidArgument,
            f"the number of candidates must be from 1 to that of classes, got {num_sampled} of {range_max}",
            "log_uniform_candidate_sampler",
        )
    if unique:
        used = default_generator().key() if key is None else tensor_in(trace, key)
        attributes = {"number": num_sampled, "classes": range_max}
        op = trace.emit_op(RandomLogUniformCandidates, (used._value,), attributes)
        sampled, draws = (Tensor(r.type, trace, r) for r in op.results)
    else:
        u = uniform(num_sampled, key=key, dtype="float64")
        number = floor(exp(u * math.log(range_max + 1))) - 1
        sampled, draws = astype(minimum(number, range_max - 1), int32), asarray(num_sampled)

    def expected(classes: Tensor) -> Tensor:
        p = log1p(1 / (astype(classes, "float32") + 1)) / math.log(range_max + 1)
        times = astype(draws, "float32")
        return -expm1(times * log1p(-p)) if unique else p * times

    return sampled, expected(indices_in(trace, true_classes, "log_uniform_candidate_sampler")), expected(sampled)


@operation
def sampled_softmax_loss(
    weights: Any,
    biases: Any,
    labels: Operand,
    inputs: Operand,
    num_sampled: int,
    num_classes: int,
    *,
    sampled_values: tuple[Operand, Operand, Operand] | None = None,
    remove_accidental_hits: bool = True,
    key: Operand | None = None,
    partition_strategy: str = "mod",
) -> Tensor:
    """The cross entropy of a soft-max over the true classes and a sample of the others, for training with many classes:
    (batch,). Only the rows of `weights` that are true or sampled are read, and have a gradient.

    `weights` is (num_classes, width), `biases` (num_classes,), `inputs` (batch, width), `labels` (batch,) or (batch,
    num_true) integers; true classes are equally likely. Weights and biases may be lists of tables, see
    `embedding_lookup`. A logit is x . w + b - log(expected count), which makes up for
    frequent sampling (Jean et al. 2015, "On using very large target vocabulary"). `sampled_values`, as
    `log_uniform_candidate_sampler` gives them, which is what is drawn without it, with true counts of labels' shape. A
    sampled class that is a true one of the row counts for nothing there unless `remove_accidental_hits` is false.
    """
    trace = current()
    assert trace is not None
    name = "sampled_softmax_loss"
    x, true = tensor_in(trace, inputs), indices_in(trace, labels, name)
    if true.ndim == 1:
        true = expand_dims(true, axis=1)
    if x.ndim != 2 or true.ndim != 2 or x.shape[0] != true.shape[0]:
        specs = f"{spec_of(x._type)} and {spec_of(true._type)}"
        raise error_here(InvalidArgument, f"inputs must be (batch, width), labels (batch, num_true), got {specs}", name)
    values = sampled_values
    if values is None:
        values = log_uniform_candidate_sampler(true, num_sampled, num_classes, key=key)
    sampled = astype(indices_in(trace, values[0], name), true.dtype)
    true_count, sampled_count = (astype(stop_gradient(count), x.dtype) for count in values[1:])
    n_true = true.shape[1]
    every = concat([reshape(true, (-1,)), sampled])
    # One look-up each: their gradients are the rows that were read.
    rows, offsets = (embedding_lookup(each, every, partition_strategy=partition_strategy) for each in (weights, biases))
    n = every.shape[0] - sampled.shape[0]
    true_rows = reshape(rows[:n], (*true.shape, rows.shape[1]))
    true_logits = reduce_sum(expand_dims(x, axis=1) * true_rows, axis=-1) + reshape(offsets[:n], true.shape)
    sampled_logits = matmul(x, matrix_transpose(rows[n:])) + offsets[n:]
    true_logits = true_logits - log(reshape(true_count, true.shape))
    sampled_logits = sampled_logits - log(sampled_count)
    if remove_accidental_hits:
        hit = reduce_any(compare("EQ", expand_dims(true, axis=-1), sampled, name), axis=1)
        sampled_logits = where(hit, _lowest(x.dtype), sampled_logits)
    logits = concat([true_logits, sampled_logits], axis=1)
    share = where(_columns(logits) < n_true, 1 / n_true, 0.0)
    return softmax_cross_entropy(astype(share, logits.dtype), logits)


def _lowest(dtype: DType) -> float:
    """The number below all others but minus infinity."""
    finfo: Any = ml_dtypes.finfo
    return float(finfo(dtype.numpy).min)


def _columns(x: Tensor) -> Tensor:
    """The number of each element's column."""
    trace = current()
    assert trace is not None
    return trace.emit(Iota, (), {"shape": x.shape, "dtype": int32, "axis": 1})
