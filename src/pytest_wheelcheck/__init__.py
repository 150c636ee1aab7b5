"""Prove that a built wheel works before anyone installs it.

PYTEST_DONT_REWRITE: the package may be imported before pytest starts (by ``wheelcheck test``), which it would warn of.
"""

__version__ = "0.1.0"
