"""`import dfc.autograph`: the module is `dfc.frontend.autograph`."""

import sys

from dfc import autograph

sys.modules[__name__] = autograph
