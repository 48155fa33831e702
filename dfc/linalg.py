"""`import dfc.linalg`: the module is `dfc.frontend.linalg`."""

import sys

from dfc.frontend import linalg

sys.modules[__name__] = linalg
