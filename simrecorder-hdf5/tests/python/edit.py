"""Changes a file, or keeps it open, as other software may.

Arguments, one of: `note PATH KEY JSON`, which puts JSON into the recorder's metadata of a node;
`damage PATH DATASET INDEX`, which overwrites a chunk; `long PATH COUNT`, which creates a file with
this many numbers; `huge PATH`, which creates one with records larger than any memory; `hold PATH
MODE`, which opens the file until standard input ends; `refused PATH MODE`, which must not be able
to open it.
"""

import json
import sys

import h5py


def note(path, key, update):
    with h5py.File(path, "r+") as file:
        attributes = file[key].attrs
        noted = json.loads(attributes["simrecorder"]) | json.loads(update)
        attributes["simrecorder"] = json.dumps(noted)


def damage(path, dataset, index):
    with h5py.File(path) as file:
        chunk = file[dataset].id.get_chunk_info(int(index))
    with open(path, "r+b") as file:
        file.seek(chunk.byte_offset + chunk.size // 4)
        file.write(b"\xa5" * (chunk.size // 2))


def long(path, count):
    with h5py.File(path, "w") as file:
        file["x"] = [0.5] * int(count)


def huge(path):
    with h5py.File(path, "w") as file:
        shape = (3, 1 << 40, 3)
        file.create_dataset("x", shape, "f8", maxshape=(None, *shape[1:]), chunks=(1, 1000, 3))


def hold(path, mode):
    with h5py.File(path, mode):
        print("ready", flush=True)
        sys.stdin.read()


def refused(path, mode):
    try:
        h5py.File(path, mode).close()
    except BlockingIOError:
        return
    sys.exit("the file could be opened")


{"note": note, "damage": damage, "long": long, "huge": huge, "hold": hold, "refused": refused}[sys.argv[1]](*sys.argv[2:])
