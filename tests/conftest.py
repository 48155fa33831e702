"""What every test starts from."""

from __future__ import annotations

import os
import signal

os.environ.setdefault("DFC_CPU_DEVICES", "4")  # before anything starts JAX: some tests are about several devices


def pytest_configure() -> None:
    """Ctrl-C is an interrupt, as some tests need it: a shell has what it runs in the background ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
