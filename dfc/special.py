"""`import dfc.special`: the module is `dfc.frontend.special`."""

import sys

from dfc.frontend import special

sys.modules[__name__] = special
