"""Starts the worker. An interpreter runs the directory of this package, whatever its name is in the target."""

import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
# The interpreter put this directory on sys.path. Only the package is needed, and nothing else from its parent directory.
sys.path[0] = os.path.dirname(here)
start = __import__(os.path.basename(here) + ".main", fromlist=["main"]).main
del sys.path[0]
if __name__ == "__main__":
    start()
