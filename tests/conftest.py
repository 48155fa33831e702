"""What every test starts from."""

from __future__ import annotations

import os
import signal


def pytest_configure() -> None:
    """Ctrl-C is an interrupt, as some tests need it: a shell has what it runs in the background ignore it. And there
    are four CPU devices, in this process alone: those that tests start have what users have."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "DFC_CPU_DEVICES" not in os.environ:
        os.environ["DFC_CPU_DEVICES"] = "4"
        from dfc.backends import xla

        xla.devices()
        del os.environ["DFC_CPU_DEVICES"]
