"""`import dfc.linalg`: the module is `dfc.frontend.linalg`."""

import sys

from dfc import linalg

sys.modules[__name__] = linalg
