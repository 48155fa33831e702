"""`import dfc.random`: the module is `dfc.frontend.random`."""

import sys

from dfc import random

sys.modules[__name__] = random
