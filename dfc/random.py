"""`import dfc.random`: the module is `dfc.frontend.random`."""

import sys

from dfc.frontend import random

sys.modules[__name__] = random
