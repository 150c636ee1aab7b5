"""Starts the worker: an interpreter is told to run the folder of this package, under whatever name it lies there."""

import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
# An interpreter that runs a folder looks for modules there. The package is what is wanted, and nothing else from there.
sys.path[0] = os.path.dirname(here)
start = __import__(os.path.basename(here) + ".main", fromlist=["main"]).main
del sys.path[0]
if __name__ == "__main__":
    start()
