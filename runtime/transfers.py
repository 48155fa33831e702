"""The ends of transfers as the executor runs them."""

from __future__ import annotations

from dfc.ir.op import short_name
from dfc.ir.ops.transfer import Recv, Send
from dfc.runtime.flow import RECV, SEND, HostOp, Transfer
from dfc.runtime.host import Binding, maker, where_of
from dfc.runtime.rendezvous import INCARNATION, prefix_of


def _end(op: Send | Recv, mode: int) -> HostOp:
    key = prefix_of(op.source.data, INCARNATION, op.target.data, op.tensor.data)
    return HostOp(f"{short_name(op)} of {op.tensor.data}", where_of(op), transfer=Transfer(mode, key))


@maker(Send)
def send(op: Send, binding: Binding) -> HostOp:
    return _end(op, SEND)


@maker(Recv)
def recv(op: Recv, binding: Binding) -> HostOp:
    return _end(op, RECV)
