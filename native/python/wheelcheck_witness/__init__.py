"""Says what the machine under a Python interpreter really is, and misbehaves on request.

Functions that a platform lacks are missing there: those of pseudo-terminals and pages on Windows, ``avx2_add``
everywhere but on x86-64, ``lse_add`` everywhere but on aarch64.
"""

from ._native import *  # noqa: F403
from ._native import __all__ as __all__
