"""Starts one program. An interpreter of the board runs the directory of this package, whatever its name is there."""

import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path[0] = os.path.dirname(here)
if __name__ == "__main__":
    __import__(os.path.basename(here) + ".programs", fromlist=["run_program"]).run_program(sys.path[0], sys.argv[1])
