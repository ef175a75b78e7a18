"""The contents of the recording of `recording.rs`, for the Python programs of the tests."""

import math
import sys

import ml_dtypes
import numpy

INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
TYPES = ["bool", *INTEGERS, "float16", "float32", "float64", "complex64", "complex128"]
GROUPS = ["scalars", "arrays", "filled", "ragged", "values/scalar", "values/matrix", "values/empty"]


def elements(dtype, shape, seed):
    """The elements that `elements` of the Rust test makes."""
    dtype = numpy.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    i = numpy.arange(dtype.itemsize * math.prod(shape)) + seed
    data = ((i * i * 31 + i * 7) >> 2).astype("uint8") & (1 if dtype == bool else 0xFF)
    return numpy.frombuffer(data.tobytes(), dtype).reshape(shape)


def same(read, expected, what):
    """Compares shape, type and bits, even of NaN."""
    read, expected = numpy.asarray(read), numpy.asarray(expected)
    assert read.shape == expected.shape, (what, read.shape, expected.shape)
    assert read.dtype == expected.dtype, (what, read.dtype, expected.dtype)
    assert read.tobytes() == expected.tobytes(), (what, read, expected)


def rows(ends, values):
    """The records of a ragged series, as specified in docs/format.md."""
    return [values[start:end] for start, end in zip([0, *ends[:-1]], ends)]


def check_elements(read, dtype, path):
    """`read` returns the whole array at a path; `path` makes a path from the name of a group."""
    stacked = lambda shape: numpy.stack([elements(dtype, shape, i) for i in range(10)])
    same(read(path("scalars")), stacked([]), path("scalars"))
    same(read(path("arrays")), stacked([2, 3]), path("arrays"))
    same(read(path("filled")), stacked([2, 3]), path("filled"))
    same(read(path("values/scalar")), elements(dtype, [], 1), path("values/scalar"))
    same(read(path("values/matrix")), elements(dtype, [5, 4], 2), path("values/matrix"))
    same(read(path("values/empty")), elements(dtype, [3, 0], 3), path("values/empty"))
    ragged = rows(read(path("ragged") + "/ends"), read(path("ragged") + "/values"))
    assert len(ragged) == 10
    for i, row in enumerate(ragged):
        same(row, elements(dtype, [i * 3 % 4, 2], i), path("ragged"))


def check_text(read):
    assert list(read("kinds/text")) == [f"größe {i} 🧠" * i for i in range(10)]
    assert numpy.asarray(read("kinds/values/text")).item() == "one text, größer 🧠"
    assert len(read("net/no_text")) == 0


def check_net(read, hidden):
    """`hidden` is the stored name of the key `__x`."""
    i = numpy.arange(10)
    x = i.astype("float32")
    same(read("net/v"), numpy.stack([x, -x], axis=1), "v")
    same(read("net/rate"), i / 2, "rate")
    same(read("net/rare"), i[::3].astype("int64"), "rare")
    for name, steps, columns in [("near", i, 3), ("far", i, 4), ("seldom", i[::3], 2)]:
        same(read(f"net/{name}"), numpy.repeat(steps / 1, columns).reshape(-1, columns), name)
    same(read("net/Δt 🧠"), i.astype("uint64"), "Δt 🧠")
    same(read(f"net/{hidden}"), i.astype("uint64"), hidden)
    same(read("net/never"), numpy.zeros(0), "never")
    same(read("net/no_rows/ends"), numpy.zeros(0, "uint64"), "no_rows")
    same(read("net/no_rows/values"), numpy.zeros(0, "uint8"), "no_rows")


def check_rounded(values):
    """The numbers that `record_rounded` records with a bound of 0.001."""
    exact = numpy.sin(numpy.arange(20_000) / 1000)
    assert values.shape == exact.shape, values.shape
    error = abs(values - exact).max()
    assert 0 < error <= 0.001, error


def refused(call, what):
    """A reader reports an unknown type as an error and does not return wrong data."""
    try:
        call()
    except Exception as error:
        assert what in str(error), error
    else:
        sys.exit(f"{what}: the reader knows it, which docs/format.md says it does not")
