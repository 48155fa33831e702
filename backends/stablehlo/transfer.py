"""Sends and receives are the host's, and waiting for a device is."""

from __future__ import annotations

from dfc.backends.stablehlo.rules import not_emitted
from dfc.ir.ops import transfer

HOST = "the rendezvous of the step carries values between devices"
not_emitted(transfer.Send, HOST)
not_emitted(transfer.Recv, HOST)
not_emitted(transfer.Computed, "the host waits for the device")
