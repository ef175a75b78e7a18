"""The program `simrec`."""

import signal
import sys

from ._simrecorder import _simrec


def main() -> int:
    """Runs `simrec` with the arguments of the process."""
    # Ctrl-C ends the program as it ends one that is not in Python.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _simrec(["simrec", *sys.argv[1:]])
