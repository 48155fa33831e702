"""`import dfc.fft`: the module is `dfc.frontend.fft`."""

import sys

from dfc import fft

sys.modules[__name__] = fft
