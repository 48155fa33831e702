"""Gradients of divisions among devices: the gradient is divided as the value is."""

from __future__ import annotations

from dfc.ir.ops.sharding import Shard
from dfc.passes.autodiff.rules import Gradient, Grads, RuleBuilder, rule


@rule(Shard)
def shard(op: Shard, grads: Grads, b: RuleBuilder) -> list[Gradient]:
    return [b(Shard, grads[0], sharding=op.sharding.data)]
