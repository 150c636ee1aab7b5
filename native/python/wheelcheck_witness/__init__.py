"""Reports the properties of the machine that runs a Python interpreter, and misbehaves on request.

Functions that a platform does not support are missing there. Windows has no functions for pseudo-terminals and pages, except
``Session``, which opens a pseudo console there. Only x86-64 has ``avx2_add``, and only aarch64 has ``lse_add``.
"""

from ._native import *  # noqa: F403
from ._native import __all__ as __all__
