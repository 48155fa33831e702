"""`import dfc.strings`: the module is `dfc.frontend.strings`."""

import sys

from dfc import strings

sys.modules[__name__] = strings
