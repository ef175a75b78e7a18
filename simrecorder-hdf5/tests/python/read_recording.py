"""Reads what `python_reads.rs` records, and compares every bit.

Arguments: what is to be read, one of the names in `main`, and the path of the file.
"""

import json
import math
import sys
import warnings

import h5py
import msgpack
import numpy
import xarray
from expected import GROUPS, TYPES, check_elements, check_net, check_rounded, check_text, elements, rows, same

NET = ["v", "never", "no_text", "no_rows", "rate", "rare", "near", "far", "seldom", "Δt 🧠", "__x"]
SCALES = ["time", "neuron", "trial", "near_axis_1", "far_axis_1", "seldom_record"]


def check_bytes(read):
    assert [row.tobytes() for row in read("kinds/bytes")] == [bytes([i] * (i % 4)) for i in range(10)]
    for i, row in enumerate(read("kinds/object")):
        expected = {"step": i, "limit": 0.5, "names": ["E", "I"]}
        assert msgpack.unpackb(row.tobytes()) == expected
    same(read("kinds/values/bytes"), numpy.array([0, 1, 254, 255], "uint8"), "bytes")
    same(read("kinds/values/nothing"), numpy.zeros(0, "uint8"), "nothing")
    unpacked = msgpack.unpackb(read("kinds/values/object").tobytes())
    assert unpacked == [1, None, math.inf], unpacked
    same(read("kinds/values/large"), numpy.full(1 << 17, 7, "uint64"), "large")


def check_attributes(attributes):
    """`attributes` is those of the series `net/v`."""
    assert attributes["units"] == "mV"
    # Attributes that HDF5 cannot represent, and reserved names, are JSON in the metadata.
    noted = json.loads(attributes["simrecorder"])
    assert noted["kind"] == "array" and noted["dimension_names"] == ["time", "neuron"]
    assert noted["attributes"] == {
        "nested": {"list": [1, 2.5, None], "größe": "Δ"},
        "simrecorder": "an attribute of the user",
    }


def check_bfloat16(file):
    """NumPy has no such type: h5py widens it, which keeps every number."""
    for i, value in enumerate(file["scalars/bfloat16"][...]):
        bits = numpy.array(value, "float32").view("uint32")
        data = [((j * j * 31 + j * 7) >> 2) % 256 for j in (i, i + 1)]
        assert bits == (data[0] + 256 * data[1]) << 16, (i, bits, data)


def read_all(path):
    with h5py.File(path) as file:
        # h5py returns text of HDF5 as bytes unless asked for text.
        def read(name):
            dataset = file[name]
            is_text = h5py.check_string_dtype(dataset.dtype)
            return dataset.asstr()[()] if is_text else dataset[()]

        for dtype in TYPES:
            check_elements(read, dtype, lambda group: f"{group}/{dtype}")
            same(file[f"filled/{dtype}"].fillvalue, elements(dtype, [], 9), dtype)
        check_bfloat16(file)
        check_bytes(read)
        check_text(read)
        check_net(read, "__x")
        check_attributes(file["net/v"].attrs)
        no_rows = file["net/no_rows"]
        assert (no_rows.attrs["units"], no_rows.attrs["comment"]) == ("ms", "größe")
        assert no_rows["ends"].dims[0].label == "trial"
        assert file["kinds/values/large"].attrs["units"] == "pA"
        assert file["net"].attrs["title"] == "a network"
        assert sorted(file["net"]) == sorted(NET + SCALES)
        for group in GROUPS:
            assert sorted(file[group]) == sorted(TYPES + ["bfloat16"])
        same(file["arrays/float64"][2:9:3, 1], read("arrays/float64")[2:9:3, 1], "a part")


def read_attributes(path):
    with h5py.File(path) as file:
        attributes = dict(file["x"].attrs)
    assert attributes.pop("flag") is numpy.True_
    assert attributes.pop("flags").tolist() == [True, False]
    same(attributes.pop("small"), numpy.int64(-3), "small")
    same(attributes.pop("large"), numpy.uint64(2**64 - 1), "large")
    same(attributes.pop("real"), numpy.float64(0.1), "real")
    same(attributes.pop("list"), numpy.array([1, 2, 3]), "list")
    same(attributes.pop("reals"), numpy.array([0.5, 1e300]), "reals")
    assert attributes.pop("text") == "größer 🧠"
    assert attributes.pop("none") == ""
    assert attributes.pop("texts").tolist() == ["a", "", "ü"]
    noted = json.loads(attributes.pop("simrecorder"))["attributes"]
    assert noted == {"mixed": [1, "a"], "empty": [], "null": None, "nul": "a\0b"}, noted
    assert not attributes, attributes


def read_filled(path):
    """Elements that were never written have the declared fill value."""
    with h5py.File(path) as file:
        assert file["number"].fillvalue == -7 and math.isnan(file["nan"].fillvalue)
        assert file["plain"].fillvalue == 0
        assert file["flag"].fillvalue == True  # noqa: E712
        assert file["complex"].fillvalue == 1 - 2j


def read_large(path):
    with h5py.File(path) as file:
        for name, dataset in file.items():
            assert dataset.shape == (3, 300, 1000), name
            # A record is more than one chunk; the last axis stays whole.
            assert dataset.chunks[0] == 1 and dataset.chunks[1] < 300 and dataset.chunks[2] == 1000
            i = numpy.arange(300 * 1000).reshape(300, 1000)
            for record in range(3):
                same(dataset[record], (i * (record + 1)) % 1000 / 8, name)


def read_lossy(path):
    with h5py.File(path) as file:
        check_rounded(file["x"][...])


def check_dimensions(path, group, coordinates):
    with xarray.open_dataset(path, engine="h5netcdf", group=group) as dataset:
        assert dataset["v"].dims == ("time", "neuron"), dataset
        assert dataset["v"].attrs["units"] == "mV"
        assert dict(dataset.sizes) == {"time": 12, "neuron": 3}, dataset
        v = numpy.arange(36, dtype="float32").reshape(12, 3)
        same(dataset["v"].values, v, group)
        assert sorted(dataset.coords) == sorted(coordinates), (group, dataset)
        if "time" in coordinates:
            same(dataset["time"].values, numpy.arange(12) / 2, group)
            same(dataset["v"].sel(time=2.5).values, v[5], group)
        if "neuron" in coordinates:
            same(dataset["neuron"].values, numpy.array([10, 20, 30]), group)
            same(dataset["v"].sel(neuron=20).values, v[:, 1], group)
    with h5py.File(path) as file:
        v = file[group]["v"]
        assert [dimension.label for dimension in v.dims] == ["time", "neuron"]
        for name, dimension in zip(["time", "neuron"], v.dims):
            assert len(dimension) == 1 and dimension[0] == file[group][name], (group, name)
            assert h5py.h5ds.is_scale(file[group][name].id)


def read_dimensions(path):
    check_dimensions(path, "names", [])
    for group in ["before", "after", "late"]:
        check_dimensions(path, group, ["time", "neuron"])
    check_dimensions(path, "one", ["time"])
    with xarray.open_dataset(path, engine="h5netcdf", group="lengths") as dataset:
        # They differ in length, so they do not share the name `time`.
        assert dataset["fast"].dims == ("fast_record",) and dataset["slow"].dims == ("slow_record",)
        same(dataset["fast"].values, numpy.arange(100.0), "fast")
        same(dataset["slow"].values, numpy.arange(10.0), "slow")
    # Groups that use the same name each have their own dimension.
    with xarray.open_dataset(path, engine="h5netcdf", group="parts") as dataset:
        assert dataset["a"].dims == ("time", "parts_x") and dataset["b"].dims == ("time", "b_axis_1")
    # Names that were not declared.
    with xarray.open_dataset(
        path, engine="h5netcdf", group="undeclared", phony_dims="sort"
    ) as dataset:
        same(dataset["x"].values, numpy.arange(10.0), "x")
        same(dataset["y"].values, numpy.arange(20.0).reshape(10, 2), "y")
        assert dataset["seed"].item() == 42
    with xarray.open_dataset(
        path, engine="h5netcdf", group="ragged/spikes", phony_dims="sort"
    ) as dataset:
        assert dataset["ends"].dims == ("trial",), dataset
        parts = rows(dataset["ends"].values, dataset["values"].values)
        assert [part.tolist() for part in parts] == [[], [1], [2, 2], [3, 3, 3]]
    with xarray.open_dataset(path, engine="h5netcdf", group="text") as dataset:
        assert dataset["log"].dims == ("time",)
        assert dataset["log"].values.tolist() == ["step 0", "step 1", "step 2"]
    with xarray.open_datatree(path, engine="h5netcdf", phony_dims="sort") as tree:
        assert tree["before/v"].dims == ("time", "neuron")


def main(what, path):
    warnings.simplefilter("error")
    readers = {
        "all": read_all,
        "attributes": read_attributes,
        "dimensions": read_dimensions,
        "filled": read_filled,
        "large": read_large,
        "lossy": read_lossy,
    }
    readers[what](path)


main(*sys.argv[1:])
