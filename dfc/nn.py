"""`import dfc.nn`: the module is `dfc.frontend.nn`."""

import sys

from dfc import nn

sys.modules[__name__] = nn
