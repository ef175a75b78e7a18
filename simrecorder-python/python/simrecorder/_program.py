"""The program `simrec`."""

import signal
import sys

from ._simrecorder import _simrec


def main() -> int:
    """Runs `simrec` with the arguments of the process."""
    # Ctrl-C ends the program like one that is not written in Python.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _simrec(["simrec", *sys.argv[1:]])
