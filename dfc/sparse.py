"""`import dfc.sparse`: the module is `dfc.frontend.sparse`."""

import sys

from dfc import sparse

sys.modules[__name__] = sparse
