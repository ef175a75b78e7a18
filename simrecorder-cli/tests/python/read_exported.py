"""Reads what `simrec export` wrote of the recording of the tests, in the folder that is given."""

import math
import sys

import numpy as np
import pyarrow.ipc
import pyarrow.parquet

folder = sys.argv[1]
steps = np.arange(20, dtype=np.float32)
v = np.stack([steps, steps + np.float32(0.1), steps + np.float32(0.2), steps + np.float32(0.3)], 1)
v = v.reshape(20, 2, 2)
rate = np.arange(20.0)
rate[3] = math.nan

found = np.load(f"{folder}/v.npy")
assert found.dtype == np.float32 and np.array_equal(found, v), found
with np.load(f"{folder}/net.npz") as found:
    assert sorted(found) == ["net/rate", "net/v"], list(found)
    assert np.array_equal(found["net/rate"], rate, equal_nan=True)
    assert np.array_equal(found["net/v"], v)


def tables(name):
    yield pyarrow.parquet.read_table(f"{folder}/{name}.parquet")
    with pyarrow.ipc.open_file(f"{folder}/{name}.arrow") as file:
        yield file.read_all()


for table in tables("net"):
    assert table.column_names == ["time", "rate", "v"], table.column_names
    assert table["time"].to_pylist() == [0.5 * step for step in range(20)]
    assert np.array_equal(table["rate"].to_numpy(), rate, equal_nan=True)
    assert np.array_equal(np.array(table["v"].to_pylist(), dtype=np.float32), v)
    assert table.schema.field("v").metadata[b"units"] == b"mV"

for table in tables("events"):
    assert table["rows"].to_pylist() == [[i] * i for i in range(4)]
    assert table["log"].to_pylist() == [f'line {i}, "quoted"' for i in range(4)]
    assert table["bytes"].to_pylist() == [bytes([i, 255]) for i in range(4)]
    assert table["objects"].to_pylist()[1] == '{"i":1,"name":"e"}'
