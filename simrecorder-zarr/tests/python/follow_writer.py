"""Reads a recording in LMDB while `python_follows.rs` writes it, until its input ends.

Argument: the path of the recording. Whatever is seen must be what the writer wrote.
"""

import json
import select
import sys

import numpy
import xarray
import zarr
from simrecorder_lmdb import LmdbStore


def check_prefixes(root):
    """Checks that each series is a prefix of what the writer records. Returns the number of records."""
    n = root["n"][:]
    assert (n == numpy.arange(len(n))).all(), n
    values, ends = root["rows/values"][:], root["rows/ends"][:]
    ends = ends[ends <= len(values)].tolist()
    for step, (start, end) in enumerate(zip([0, *ends], ends)):
        assert end - start == step % 4 and (values[start:end] == step).all(), step
    log = root["log"][:]
    assert (log == [f"step {step}" for step in range(len(log))]).all(), log
    return len(n) + len(ends) + len(log)


def check_group(store, root):
    """New keys appear, and listed keys exist."""
    names = list(root["late"].array_keys())
    for name in names[-3:]:
        late = root["late"][name][:]
        assert (late == int(name) * 40 + numpy.arange(len(late))[:, None]).all(), late
    dataset = xarray.open_zarr(store, group="late", consolidated=False, chunks=None)
    assert set(names) <= set(dataset.variables), names
    return len(names)


def check_overtaken(store):
    """Ignores reads that failed because the writer committed too often."""
    trees = []

    def read(tree):
        trees.append(tree)
        while len(trees) == 1 and tree.is_intact():
            pass
        return tree.value(b"wide/zarr.json", None)

    assert json.loads(store._read(read))["node_type"] == "array"
    assert len(trees) > 1


def main(path):
    store = LmdbStore(path)
    check_overtaken(store)
    last, seen, states, is_over = {"wide": 0, "narrow": 0}, 0, 0, False
    print("ready", flush=True)
    while not is_over:
        # Once more afterwards, when the writer has ended.
        is_over = bool(select.select([sys.stdin], [], [], 0)[0])
        root = zarr.open_group(store, mode="r")
        # Each commit rewrites many pages in another place.
        for name in last:
            value = root[name][:]
            assert (value == value[0]).all(), value
            assert value[0] >= last[name], (value[0], last)
            last[name] = value[0]
        try:
            now = check_prefixes(root) + check_group(store, root)
        except ValueError as error:
            # A checkpoint extended a short array after its metadata and before its chunk was read.
            assert "cannot reshape" in str(error) and not is_over, error
            continue
        assert now >= seen, (now, seen)
        states += now > seen
        seen = now
        if states == 11:
            print("enough", flush=True)
    assert states > 10
    print(f"{states} states, {seen} records and keys, step {last}")


main(*sys.argv[1:])
