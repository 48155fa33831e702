"""Which xs are reached through rows alone: their gradients stay the rows that were taken, and are never spread out over
zeros (the paper's section 4.2).

An x is such where every use on a path to a y takes rows of it, df.take along axis 0: of the tensor itself, or of what
df.read gives for a reference. Calls are looked through. Any other use makes the gradient dense.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xdsl.ir import Operation, SSAValue

from dfc.ir.dims import is_static, size
from dfc.ir.dtypes import int64
from dfc.ir.ops.function import DENSE, SPARSE, Call, Gradients
from dfc.ir.ops.indexing import Take
from dfc.ir.ops.state import Read
from dfc.ir.types import Spec, spec_behind, spec_of
from dfc.passes.autodiff.paths import Paths, block_of

Takes = Mapping[SSAValue, Sequence[Take]]
"""For each x whose gradient is sparse the ops that take its rows, in the order of the program."""


def keep_sparse(
    ys: Sequence[SSAValue], xs: Sequence[SSAValue], kinds: Sequence[str]
) -> tuple[tuple[str, ...], tuple[Spec, ...]]:
    """The kinds that `plan` gave, with "sparse" for each dense x that is reached through rows alone; and for each of
    these the type of the indices of all rows: a vector, int64 where they differ in dtype."""
    if DENSE not in kinds:
        return tuple(kinds), ()
    candidates = [x for x, kind in zip(xs, kinds, strict=True) if kind == DENSE and _has_rows(x)]
    block = block_of(ys[0])
    assert block is not None, "a y must be in a block"
    found = _Search(candidates).run(block.last_op, ys) if candidates else {}
    kept, rows = list(kinds), []
    for i, x in enumerate(xs):
        if kinds[i] == DENSE and found.get(x):
            kept[i] = SPARSE
            rows.append(_rows_spec(found[x]))
    return tuple(kept), tuple(rows)


def takes_of(request: Gradients) -> Takes:
    """The ops that take the rows of the request's sparse xs. The calls on the paths must be inlined."""
    xs = [x for x, kind in zip(request.xs, request.kinds.data, strict=True) if kind == SPARSE]
    return _Search(xs).run(request.prev_op, request.ys) if xs else {}


def _has_rows(x: SSAValue) -> bool:
    shape = spec_behind(x.type).shape
    return bool(shape) and is_static(shape)


def _rows_spec(takes: Sequence[Take]) -> Spec:
    specs = [spec_of(op.operands[1].type) for op in takes]
    n = sum((size(s.shape) for s in specs[1:]), start=size(specs[0].shape))
    dtypes = {s.dtype for s in specs}
    return Spec((n,), dtypes.pop() if len(dtypes) == 1 else int64)


class _Search:
    """The uses of each x, forward from it, among the ops from which a path leads to a y."""

    def __init__(self, xs: Sequence[SSAValue]) -> None:
        self.paths = Paths(xs)
        self.sources = {x: self.paths.source(x) for x in xs}
        self.takes: dict[SSAValue, list[Take]] = {source: [] for source in self.sources.values()}
        self.dense: set[SSAValue] = set()
        self.same: dict[SSAValue, SSAValue] = {source: source for source in self.takes}
        """Values that are an x, or what a read of it gives -> the x."""

    def run(self, last: Operation | None, ys: Sequence[SSAValue]) -> dict[SSAValue, list[Take]]:
        """The ops that take rows of each x, without the xs that are used otherwise."""
        self._walk(last, ys)
        self.dense.update(self.same[y] for y in ys if y in self.same)
        return {x: self.takes[source] for x, source in self.sources.items() if source not in self.dense}

    def _walk(self, last: Operation | None, ys: Sequence[SSAValue]) -> None:
        steps, wanted = self.paths.reaching(last, ys)
        for op, operands in reversed(steps):
            if isinstance(op, Call):
                self._call(op, wanted)
                continue
            for i, operand in enumerate(operands):
                x = self.same.get(operand)
                if x is None:
                    continue
                if isinstance(op, Read):
                    self.same[op.results[0]] = x
                elif isinstance(op, Take) and i == 0 and op.axis.data == 0:
                    self.takes[x].append(op)
                else:
                    self.dense.add(x)

    def _call(self, op: Call, wanted: set[SSAValue]) -> None:
        """The callee's uses of the xs that go into it, and of variables. Each call has results of its own."""
        func = self.paths.function(op)
        arguments = list(zip(func.block.args, op.operands, strict=False))
        before = {x: len(found) for x, found in self.takes.items()}
        for argument, operand in arguments:
            self.same.pop(argument, None)  # of an earlier call
            if operand in self.same:
                self.same[argument] = self.same[operand]
        self._walk(func.terminator, [o for o, r in zip(func.outputs, op.results, strict=False) if r in wanted])
        renamed = any(argument.type is not operand.type for argument, operand in arguments)
        for x, found in self.takes.items():
            if renamed and not all(is_static(spec_of(t.operands[1].type).shape) for t in found[before[x] :]):
                self.dense.add(x)  # the callee's symbols have no meaning here
        for output, result in zip(func.outputs, op.results, strict=False):
            self.same.pop(result, None)
            if output in self.same:
                self.same[result] = self.same[output]
