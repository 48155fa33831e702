"""`import dfc.special`: the module is `dfc.frontend.special`."""

import sys

from dfc import special

sys.modules[__name__] = special
