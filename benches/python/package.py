"""How fast the Python package is, beside what one would use instead; see benches/README.md.

Every work runs several rounds, each candidate in turn, and prints the median of the times of one record, and of their
ratios to that of the first candidate. Files are in /dev/shm, so that no disk is measured.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from itertools import repeat
from pathlib import Path

import h5py
import numpy as np
import tensorstore
import zarr

import simrecorder

ROW = np.random.default_rng(1).random(100)
FRAME = np.random.default_rng(2).random(1 << 17)
CHUNK_ROWS = (1 << 20) // ROW.nbytes


def timed(work, *arguments):
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def calls(count, call, *arguments):
    """The time of many equal calls."""
    start = time.perf_counter()
    for _ in repeat(None, count):
        call(*arguments)
    return time.perf_counter() - start


def float_by_key(folder, count=1_000_000):
    with simrecorder.create(folder / "a.mdb") as recorder:
        recorder.record("net/rate", 0.5)
        yield "simrecorder: record(key, float)", calls(count, recorder.record, "net/rate", 0.5), count
    yield "list.append(float)", calls(count, [].append, 0.5), count


def row_by_key(folder, count=200_000):
    with simrecorder.create(folder / "a.mdb") as recorder:
        recorder.record("net/v", ROW)
        yield "simrecorder: record(key, 100 float64)", calls(count, recorder.record, "net/v", ROW), count
    buffer = np.ones((1 << 14, 100))

    def assign():
        for index in range(count):
            buffer[index & 0x3FFF] = ROW

    yield "buffer[i] = row", timed(assign), count


def rows_to_a_file(folder, count=100_000):
    """From opening to the end of closing."""

    def record():
        with simrecorder.create(folder / "a.mdb") as recorder:
            for _ in repeat(None, count):
                recorder.record("v", ROW)

    def h5py_rows(rows, each):
        with h5py.File(folder / "a.h5", "w") as file:
            v = file.create_dataset("v", (0, 100), maxshape=(None, 100), chunks=(CHUNK_ROWS, 100), dtype="f8", compression="lzf")
            block = np.tile(ROW, (each, 1))
            for start in range(0, rows, each):
                v.resize(start + each, axis=0)
                v[start : start + each] = block

    def zarr_rows(rows, each):
        v = zarr.create_array(folder / "a.zarr", shape=(0, 100), chunks=(CHUNK_ROWS, 100), dtype="f8", overwrite=True)
        block = np.tile(ROW, (each, 1))
        for _ in range(0, rows, each):
            v.append(block)

    yield "simrecorder", timed(record), count
    yield "h5py, record by record", timed(h5py_rows, 2000, 1), 2000
    yield "zarr-python, record by record", timed(zarr_rows, 500, 1), 500
    yield "h5py, whole chunks by hand", timed(h5py_rows, CHUNK_ROWS * 40, CHUNK_ROWS), CHUNK_ROWS * 40
    yield "zarr-python, whole chunks by hand", timed(zarr_rows, CHUNK_ROWS * 40, CHUNK_ROWS), CHUNK_ROWS * 40


def frames(folder, count=256):
    """From opening to the end of closing; `compare random-frames-in-memory` has the rate of Rust."""

    def record():
        with simrecorder.create(folder / "a.mdb") as recorder:
            for _ in repeat(None, count):
                recorder.record("frame", FRAME)

    yield "simrecorder: frames of 1 MiB", timed(record), count


def read_all(folder, count=400):
    with simrecorder.create(folder / "a.zarr") as recorder:
        for _ in repeat(None, count):
            recorder.record("frame", FRAME)
    view = simrecorder.open(folder / "a.zarr")["frame"]
    array = tensorstore.open(
        {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(folder / "a.zarr/frame")}}, open=True
    ).result()
    assert np.array_equal(np.asarray(view), array.read().result())
    yield "simrecorder: np.asarray(view)", timed(np.asarray, view), count
    yield "TensorStore: read()", timed(lambda: array.read().result()), count


WORKS = [float_by_key, row_by_key, rows_to_a_file, frames, read_all]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", choices=[[], *(work.__name__ for work in WORKS)])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print(f"simrecorder {simrecorder.__version__}, Python {sys.version.split()[0]}, NumPy {np.__version__}")
    for work in WORKS:
        if options.works and work.__name__ not in options.works:
            continue
        times = {}
        for _ in range(options.rounds):
            folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
            for name, seconds, count in work(folder):
                times.setdefault(name, []).append(seconds / count)
            shutil.rmtree(folder)
        print(f"\n{work.__name__}")
        first = next(iter(times.values()))
        for name, each in times.items():
            ratio = statistics.median(other / own for own, other in zip(first, each, strict=True))
            print(f"  {statistics.median(each) * 1e9:12.0f} ns   {ratio:8.2f} x   {name}")


if __name__ == "__main__":
    main()
