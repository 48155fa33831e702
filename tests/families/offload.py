"""What moves variables in the host's memory to a device and back."""

from __future__ import annotations

from dfc.errors import InvalidArgument, InvalidType
from tests.families.rows import Broken
from tests.families.state import TOKENS_ONLY

NO_HANDLE = "the first operand must be what df.hold gives, got tensor<2xf32>"

BROKEN: list[Broken] = [
    ("hold-C1", "ref float32[2] ; float32[2]", {"written": (0,), "read": (), "alone": False}, InvalidType,
     TOKENS_ONLY + "tensor<2xf32>"),
    ("hold-C2", "ref float32[2] ; token", {"written": (0,), "read": (1,), "alone": False}, InvalidArgument,
     "read=(1,) must index 1 references"),
    ("fetch-C1", "float32[2]", {"on_host": False}, InvalidType, NO_HANDLE),
    ("fetch-C2", "handle hold ; ref float32[2] ; token ; float32[2]", {"on_host": False}, InvalidType,
     TOKENS_ONLY + "tensor<2xf32>"),
    ("fetch-C3", "handle hold ; ref float32[2] ; float32[2]", {"on_host": False, "lent": ("v", "w")}, InvalidArgument,
     "lent=['v', 'w'] must name 1 tensors"),
    ("evict-C1", "float32[2]", {"made": True, "in_place": ()}, InvalidType, NO_HANDLE),
    ("evict-C2", "handle hold ; ref float32[2] ; float32[3]", {"made": True, "in_place": ()}, InvalidArgument,
     "the values must match the variables, (float32[2]), got (tensor<3xf32>)"),
    ("evict-C3", "handle hold ; ref float32[2] ; float32[2]", {"made": True, "in_place": (1,)}, InvalidArgument,
     "in_place=(1,) must index 1 references"),
    ("release-C1", "float32[2]", {}, InvalidType, NO_HANDLE),
    ("release-C2", "handle hold ; ref float32[2] ; float32[3] ; token ; float32[2]", {}, InvalidType,
     TOKENS_ONLY + "tensor<2xf32>"),
    ("let_go-C1", "float32[2]", {}, InvalidType, NO_HANDLE),
    ("let_go-C2", "handle hold ; token ; float32[2]", {}, InvalidType, TOKENS_ONLY + "tensor<2xf32>"),
]  # fmt: skip
