"""Reads what `python_reads.rs` recorded, with the program in docs/format.md.

Arguments: the URL of the server; that of a cluster; the names of the recordings; the folder of the
repository last.
"""

import re
import sys
from pathlib import Path

import ml_dtypes  # noqa: F401, gives NumPy its bfloat16
import numpy
import redis

DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
DTYPES += ["float16", "bfloat16", "float32", "float64", "complex64", "complex128"]


def elements(dtype, shape, seed):
    """The array of `elements` in `python_reads.rs`."""
    size = numpy.dtype(dtype).itemsize * int(numpy.prod(shape))
    i = numpy.arange(size, dtype="u8") + seed
    data = ((i * i * 31 + i * 7) >> 2).astype("u1")
    if dtype == "bool":
        data &= 1
    return data.view(dtype).reshape(shape)


def assert_same(found, expected):
    found = numpy.asarray(found)
    assert found.dtype == expected.dtype and found.shape == expected.shape, (found, expected)
    assert found.tobytes() == expected.tobytes(), (found, expected)


def check(recording):
    children = recording.children()
    assert children[b"kinds"] == b"group" and children[b"seed"] == b"value", children
    assert recording.value("seed") == 42 and recording.value("text") == "größe 🧠"
    assert recording.value("object") == {"tau": 20.0}
    assert recording.attributes("kinds/text") == {"units": "mV"}
    for dtype in DTYPES:
        for name, shape in [("scalars", ()), ("arrays", (2, 3))]:
            records = recording.records(f"{name}/{dtype}")
            assert len(records) == 10, len(records)
            for i, record in enumerate(records):
                assert_same(record, elements(dtype, shape, i))
        for name, shape in [("ragged", ()), ("ragged2", (2,))]:
            rows = recording.records(f"{name}/{dtype}")
            for i, row in enumerate(rows):
                assert_same(row, elements(dtype, (i * 3 % 4, *shape), i))
        assert_same(recording.value(f"values/{dtype}"), elements(dtype, (5, 4), 2))
    assert recording.records("kinds/text") == [f"größe {i} 🧠" * i for i in range(10)]
    assert recording.records("kinds/bytes") == [bytes([i]) * (i % 4) for i in range(10)]
    assert recording.records("kinds/object") == [{"step": i, "names": ["E"]} for i in range(10)]
    # pyarrow returns tensors as NumPy arrays of their shape.
    column = next(recording.columns("arrays/float64"))
    assert column.to_numpy_ndarray().shape[1:] == (2, 3)
    vectors = recording.records("filled/vector")
    assert [list(vector) for vector in vectors] == [[2.5, 2.5]] * 5 + [[1.0, -1.0]], vectors
    assert [int(n) for n in recording.records("filled/zeros")] == [0] * 5 + [9]
    # If records of a recording were freed, it begins with the remaining ones.
    assert [int(n) for n in recording.records("freed")] == list(range(3000, 5000))


def check_cluster(recording):
    """Series in the slot of their group, in that of the root, and in their own."""
    assert recording.client.hget("simrecorder:{default}:root", "requires") == b"shared-slots"
    for key in ["net/time", "net/v", "top", "own/v"]:
        assert [int(n) for n in recording.records(key)] == list(range(10)), key
        assert bool(recording.node(key).get("shares_slot")) == (not key.startswith("own")), key


def main(url, cluster, *rest):
    *runs, repository = rest
    document = Path(repository, "docs/format.md").read_text()
    [program] = re.findall(r"^```py\n(.*?)^```", document, re.DOTALL | re.MULTILINE)
    names = {"url": url}
    exec(compile(program, "docs/format.md", "exec"), names)
    assert len(names["v"]) == 10 and names["v"][3].shape == (3,)
    for run in runs:
        check(names["Recording"](names["recording"].client, run))
    check_cluster(names["Recording"](redis.RedisCluster.from_url(cluster)))


main(*sys.argv[1:])
