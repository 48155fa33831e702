"""In which frame of which loop each op runs, where loops are cycles of the graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from xdsl.ir import Block, Operation, SSAValue

from dfc.errors import InvalidArgument
from dfc.ir.builder import Builder
from dfc.ir.cycles import is_from_later
from dfc.ir.op import Effect, Op, error_at
from dfc.ir.ops import dataflow as fl
from dfc.ir.ops.constant import ConstantOp
from dfc.ir.ops.function import Return
from dfc.ir.ops.queue import Handle
from dfc.ir.ops.state import Variable
from dfc.ir.types import CONTROL
from dfc.passes.late import definers, needed_by

Frame = tuple[str, ...]
"""The names of the frames around an op, the outermost first."""
ROOT: Frame = ()
EVERYWHERE = (ConstantOp, Variable, Handle)
"""Ops whose values are there in every frame: they are known before a step begins."""


def has_gates(block: Block) -> bool:
    """Whether the block's values may be dead, or its ops run more than once."""
    return any(isinstance(op, fl.Gate) for op in block.ops)


def has_frames(block: Block) -> bool:
    """Whether some of the block's ops may run more than once."""
    return any(type(op) is fl.Enter for op in block.ops)


class Frames:
    """The frames of a block's ops. Raises InvalidArgument for an op that takes values of several (row F6).

    With `lenient` a pure op of nothing but constants, which stands where its sizes are known, may be used in frames
    below; `missing` gets values that tell a size to an op in a frame where no value does, and the frame.
    """

    def __init__(self, block: Block, *, lenient: bool = False) -> None:
        self._lenient = lenient
        self._of: dict[int, Frame | None] = {}  # of each op: where it runs; None for everywhere
        self._left: dict[int, frozenset[Frame]] = {}  # the frames that lead to an op and not around it
        self._floating: set[int] = set()
        self.sizes = definers(block)
        """Of sizes that only running an op tells: the values that have them."""
        self.missing: list[tuple[SSAValue, Frame]] = []
        self._copies: dict[SSAValue, list[SSAValue]] = {v: [v] for v in self.sizes.values()}
        self.parallel: dict[Frame, int] = {}
        """How many iterations of each frame may be under way at once."""
        for op in block.ops:
            self._of[id(op)] = self._frame(op)
            if type(op) is fl.Enter and op.is_constant.data and op.x in self._copies:
                self._copies[op.x].append(op.result)
                self._copies[op.result] = self._copies[op.x]
        for op in block.ops:
            if type(op) is fl.Merge:
                for operand in op.operands:
                    if type(operand.owner) is fl.NextIteration and self.of(operand.owner) != self.of(op):
                        raise _mixed(op, [(o, self.where(o)) for o in op.operands])

    def of(self, op: Operation) -> Frame:
        """Where the op runs."""
        return self._of.get(id(op)) or ROOT

    def where(self, value: SSAValue) -> Frame | None:
        """Where the value is there; None for everywhere."""
        owner = value.owner
        if not isinstance(owner, Operation):
            return ROOT
        return after(owner, self._of.get(id(owner), ROOT))

    def is_floating(self, value: SSAValue) -> bool:
        """Whether the value is pure work on constants alone."""
        return isinstance(value.owner, Operation) and id(value.owner) in self._floating

    def taken(self, op: Operation) -> list[SSAValue]:
        """What the op takes of its own iteration: operands, and values that tell it a size."""
        return [*(o for o in op.operands if not is_from_later(op, o)), *self.sized(op, self.of(op))]

    def sized(self, op: Operation, frame: Frame) -> list[SSAValue]:
        """Values that tell the op the sizes which its operands don't: of this frame, if there are such."""
        if not self.sizes or isinstance(op, fl.Gate) or type(op) is Return:
            return []
        return [self._teller(value, frame) for value in needed_by(op, self.sizes)]

    def teller(self, symbol: str, frame: Frame) -> SSAValue:
        """As `sized`, for one size."""
        return self._teller(self.sizes[symbol], frame)

    def _teller(self, value: SSAValue, frame: Frame) -> SSAValue:
        return next((copy for copy in self._copies[value] if self.where(copy) == frame), value)

    def _frame(self, op: Operation) -> Frame | None:
        if isinstance(op, EVERYWHERE):
            return None
        taken = [(o, w) for o in op.operands if not is_from_later(op, o) and (w := self.where(o)) is not None]
        if type(op) is Return:
            _check_returned(taken)
            return ROOT
        lenient = self._lenient and type(op) is not fl.Merge
        fixed = [(o, w) for o, w in taken if not (lenient and self.is_floating(o))]
        if fixed:
            frame = fixed[0][1]
        else:  # where what it is made of is known
            known = [*(w for _, w in taken), *(self.where(v) or ROOT for v in self.sized(op, ROOT))]
            frame = max(known, key=len, default=ROOT)
            if _is_pure(op) and all(o.type is not CONTROL for o in op.operands):
                self._floating.add(id(op))
        self._require_one(op, frame, fixed, taken)
        self._check(op, frame)
        return frame

    def _require_one(
        self, op: Operation, frame: Frame, fixed: list[tuple[SSAValue, Frame]], taken: list[tuple[SSAValue, Frame]]
    ) -> None:
        """Refuse an op that takes something of another frame. What may enter this one is noted, or is floating."""
        sized = [(v, self.where(v) or ROOT) for v in self.sized(op, frame)]
        for value, where in sized:
            if where != frame and self._lenient and where == frame[: len(where)]:
                self.missing.append((value, frame))
            elif where != frame:
                raise _mixed(op, [*taken, *sized])
        below = [w for _, w in taken if w != frame[: len(w)]]
        if below or any(w != frame for _, w in fixed):
            raise _mixed(op, taken)

    def _check(self, op: Operation, frame: Frame) -> None:
        """Refuse an exit from nowhere, and a frame that is entered by what has left it."""
        left = frozenset[Frame]().union(*(self._left[id(o)] for o in _owners(op) if id(o) in self._left))
        if type(op) is fl.Enter:
            inside = after(op, frame)
            assert inside is not None
            if inside in left:
                raise error_at(
                    InvalidArgument,
                    op,
                    f"the frame {op.frame.data!r} is entered by what has left it",
                    "give each loop a frame of its own",
                )
            wanted = op.parallel_iterations.data
            self.parallel[inside] = min(self.parallel.get(inside, wanted), wanted)
        elif isinstance(op, fl.Exit | fl.NextIteration) and frame == ROOT:
            raise error_at(InvalidArgument, op, "the operand is in no frame", "frames begin with df.enter")
        elif type(op) is fl.Exit:
            left |= {frame}
        if left:
            self._left[id(op)] = left


def enter_constants(block: Block) -> int:
    """Have what is pure work on constants alone enter the frames in which it is used, and what tells sizes there;
    returns how many enters that takes. Raises InvalidArgument for an op that takes other values of several frames."""
    frames = Frames(block, lenient=True)
    entered: Entered = {}
    for op in list(block.ops):
        frame = frames.of(op)
        if frame and type(op) is not Return and any(frames.is_floating(o) for o in op.operands):
            op.operands = [_entered(o, frame, frames, entered) if frames.is_floating(o) else o for o in op.operands]
    for value, frame in frames.missing:
        _entered(value, frame, frames, entered)
    return len(entered)


Entered = dict[tuple[SSAValue, Frame], SSAValue]


def _entered(value: SSAValue, frame: Frame, frames: Frames, entered: Entered) -> SSAValue:
    """The value in the frame; it enters right behind the op that gives it."""
    if frame == frames.where(value):
        return value
    found = entered.get((value, frame))
    if found is None:
        outside = _entered(value, frame[:-1], frames, entered)
        owner = outside.owner
        assert isinstance(owner, Operation) and owner.parent is not None
        builder = Builder(owner.parent, before=owner.next_op, location=owner.location)
        found = entered[value, frame] = builder(
            fl.Enter, outside, frame=frame[-1], is_constant=True, parallel_iterations=frames.parallel[frame]
        )
    return found


def after(op: Operation, frame: Frame | None) -> Frame | None:
    """Where an op's results are there, if it runs in this frame."""
    if type(op) is fl.Enter:
        return (*(frame or ROOT), op.frame.data)
    return frame[:-1] if type(op) is fl.Exit and frame is not None else frame


def _owners(op: Operation) -> Iterator[Operation]:
    for operand in op.operands:
        if isinstance(operand.owner, Operation) and not is_from_later(op, operand):
            yield operand.owner


def _check_returned(taken: Iterable[tuple[SSAValue, Frame]]) -> None:
    for value, frame in taken:
        owner = value.owner
        if frame and isinstance(owner, Operation):
            raise error_at(
                InvalidArgument,
                owner,
                f"a value of {described(frame)} can't be returned: there is one in each iteration",
                "return what leaves the frame by df.exit",
            )


def _is_pure(op: Operation) -> bool:
    return isinstance(op, Op) and op.EFFECT is Effect.PURE and not isinstance(op, fl.Gate)


def described(frame: Frame | None) -> str:
    """A frame as errors name it."""
    return f"frame {'/'.join(frame)!r}" if frame else "no frame"


def _mixed(op: Operation, taken: Iterable[tuple[SSAValue, Frame | None]]) -> InvalidArgument:
    places = {id(value): f"operand {index}" for index, value in enumerate(op.operands)}
    listed = [f"{places.get(id(value), 'a size')} of {described(frame)}" for value, frame in taken]
    return error_at(
        InvalidArgument,
        op,
        f"the op has inputs from different frames: {', '.join(dict.fromkeys(listed))}",
        "values come into a loop by enter and leave it by exit; a read or a constant that is made in it waits for a "
        "value of it, by control_dependencies",
    )
