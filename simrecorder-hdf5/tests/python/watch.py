"""Reads a recording with h5py while it is being written, as a scientist does.

Arguments: `look PATH` prints how many records `n` has and what the root says about being unfinished;
`wait PATH COUNT` does so once there are at least so many; `attribute PATH` prints the whole attribute.
"""

import sys
import time

import h5py

UNFINISHED = "simrecorder_unfinished"


def open_file(path):
    while True:
        try:
            return h5py.File(path)
        except BlockingIOError:
            # A checkpoint is in progress.
            time.sleep(0.001)


def look(path):
    with open_file(path) as file:
        count = len(file["n"]) if "n" in file else 0
        return count, UNFINISHED in file.attrs


def show(found):
    print(found[0], "unfinished" if found[1] else "closed")


def wait(path, count):
    while True:
        found = look(path)
        if found[0] >= int(count):
            return show(found)
        time.sleep(0.01)


def attribute(path):
    with open_file(path) as file:
        text = file.attrs[UNFINISHED]
        print(text.decode() if isinstance(text, bytes) else text)


commands = {"look": lambda path: show(look(path)), "wait": wait, "attribute": attribute}
commands[sys.argv[1]](*sys.argv[2:])
