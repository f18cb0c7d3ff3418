"""The op table: every primitive with its gradient rules, one file per family, whose ``__all__`` lists its ops.

The functions of elementwise, linalg, reduction and shape are functions of `minigrad` too.
"""

from . import activation, elementwise, indexing, linalg, loss, neural, reduction, shape
from .activation import *
from .elementwise import *
from .elementwise import masked, to_device  # used by rules and by tensors
from .indexing import *
from .linalg import *
from .linalg import linear  # used by layers
from .loss import *
from .neural import *
from .primitive import PRIMITIVES, Primitive, Traced, primitive
from .reduction import *
from .shape import *

__all__ = ["PRIMITIVES", "Primitive", "Traced", "linear", "masked", "primitive", "to_device"]
__all__ += activation.__all__
__all__ += elementwise.__all__
__all__ += indexing.__all__
__all__ += linalg.__all__
__all__ += loss.__all__
__all__ += neural.__all__
__all__ += reduction.__all__
__all__ += shape.__all__
