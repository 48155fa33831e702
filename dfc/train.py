"""`import dfc.train`: the module is `dfc.frontend.train`."""

import sys

from dfc import train

sys.modules[__name__] = train
