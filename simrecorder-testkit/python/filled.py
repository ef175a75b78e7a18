"""Checks the series that `filled.rs` of the testkit makes, given a function that opens arrays by name."""

import numpy

FILLED = 100_000_000
SHAPES = {"number": (), "vector": (3,), "field": (300, 5), "rate": ()}
FILLS = {"number": 7, "vector": -1.5, "field": 0.0, "rate": 0.25}


def expected(name, index):
    last = {
        "number": index - FILLED,
        "vector": [index, 0.0, 0.5],
        "field": index - FILLED + 1,
        "rate": index,
    }
    return numpy.broadcast_to(FILLS[name] if index < FILLED else last[name], SHAPES[name])


def check(array_at, count):
    for name, shape in SHAPES.items():
        array = array_at(name)
        assert tuple(array.shape) == (FILLED + count, *shape), array.shape
        for start in [0, FILLED // 2, FILLED - 5]:
            rows = numpy.asarray(array[start : min(start + 15, FILLED + count)])
            for index, row in enumerate(rows, start):
                assert (row == expected(name, index)).all(), (name, index, row)
