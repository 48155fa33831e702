"""`import dfc.raw`: the module is `dfc.frontend.raw`."""

import sys

from dfc import raw

sys.modules[__name__] = raw
