"""`import dfc.image`: the module is `dfc.frontend.image`."""

import sys

from dfc import image

sys.modules[__name__] = image
