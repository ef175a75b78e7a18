"""Writes files as other software does, and checks them after the recorder appended to them.

Arguments: `write` or `check`, and the path of the folder; `unharmed` or `attributes`, and the path
of a file that must keep contents unknown to the recorder; `sparse`, and the path of a file with
chunks that were never written.
"""

import sys
from pathlib import Path

import h5netcdf
import h5py
import numpy
from h5py import h5d, h5p, h5s, h5t, h5z

SHAPE = (10, 6)
INTEGERS = [f"{sign}{size}" for sign in "iu" for size in (1, 2, 4, 8)]
NUMBERS = [*INTEGERS, "f2", "f4", "f8", "c8", "c16"]
GROWING = dict(chunks=(4, 6), maxshape=(None, 6))
FORMATS = ["earliest", "v108", "v110", "v112", "v114", "latest"]
SPARSE = {
    "plain": {},
    "filled": dict(fillvalue=-7),
    "gzip": dict(compression="gzip", shuffle=True, fillvalue=-7),
    "lzf": dict(compression="lzf", fillvalue=-7),
    "nothing": dict(fillvalue=-7),
}
# The groups to which the recorder appends.
GROWN = ["growing", "filters", "types", "texts", "all_axes"]
USER_BLOCKS = [512, 1024, 65536]


def numbers(dtype, shape):
    """0, 1, 2, …; -i for the imaginary part."""
    dtype = numpy.dtype(dtype)
    i = numpy.arange(numpy.prod(shape, dtype=int)).reshape(shape)
    if dtype == bool:
        return i % 2 == 1
    return (i - 1j * i).astype(dtype) if dtype.kind == "c" else i.astype(dtype)


def texts(count):
    return [f"text {i}" for i in range(count)]


def write_layouts(group):
    group["contiguous"] = numbers("f8", SHAPE)
    group["list"] = numbers("f8", (10,))
    group["cube"] = numbers("f8", (10, 2, 3))
    group["scalar"] = numbers("f8", ())
    group["empty"] = numbers("f8", (0, 6))
    group["no_rows"] = numbers("f8", (10, 0))
    fixed = group.create_dataset("chunked", data=numbers("f8", SHAPE), chunks=(3, 4))
    assert fixed.maxshape == SHAPE
    # The data are in the object header.
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_layout(h5d.COMPACT)
    space = h5s.create_simple(SHAPE)
    compact = h5d.create(group.id, b"compact", h5t.IEEE_F64LE, space, properties)
    compact.write(h5s.ALL, h5s.ALL, numbers("f8", SHAPE))
    # The data are in another file.
    folder = Path(group.file.filename).parent
    raw = folder / "raw.bin"
    raw.write_bytes(numbers("f8", SHAPE).tobytes())
    group.create_dataset("external", SHAPE, "f8", external=[(raw, 0, h5py.h5f.UNLIMITED)])
    layout = h5py.VirtualLayout(SHAPE, "f8")
    layout[:] = h5py.VirtualSource(group["contiguous"])
    group.create_virtual_dataset("virtual", layout)


def write_growing(group):
    for name, chunks, limit in [
        ("rows", (4, 6), (None, 6)),
        ("all_axes", (3, 4), (None, None)),
        ("one_row", (1, 6), (None, 6)),
        ("whole", (64, 6), (None, 6)),
    ]:
        data = numbers("f8", SHAPE)
        group.create_dataset(name, data=data, chunks=chunks, maxshape=limit)
    group.create_dataset("list", data=numbers("i8", (10,)), chunks=(4,), maxshape=(None,))
    data = numbers("f4", (10, 2, 3))
    group.create_dataset("cube", data=data, chunks=(3, 1, 2), maxshape=(None, 2, 3))
    group.create_dataset("empty", (0, 6), "f8", **GROWING)


def write_filters(group):
    deflate = lambda level: dict(compression="gzip", compression_opts=level)
    lzf, shuffle, checksum = dict(compression="lzf"), dict(shuffle=True), dict(fletcher32=True)
    for name, filters in {
        "gzip_0": deflate(0),
        "gzip_1": deflate(1),
        "gzip_4": deflate(4),
        "gzip_9": deflate(9),
        "lzf": lzf,
        "shuffle": shuffle,
        "checksum": checksum,
        "shuffle_gzip": shuffle | deflate(4),
        "shuffle_lzf": shuffle | lzf,
        "gzip_checksum": deflate(4) | checksum,
        "lzf_checksum": lzf | checksum,
        "shuffle_checksum": shuffle | checksum,
        "shuffle_gzip_checksum": shuffle | deflate(4) | checksum,
        "shuffle_lzf_checksum": shuffle | lzf | checksum,
    }.items():
        for dtype in ["u1", "f4", "i8", "c16"]:
            data = numbers(dtype, SHAPE)
            group.create_dataset(f"{name}_{dtype}", data=data, **GROWING, **filters)
    data = numbers("i4", SHAPE)
    group.create_dataset("scaleoffset", data=data, scaleoffset=0, **GROWING)
    data = numbers("f8", SHAPE)
    group.create_dataset("scaleoffset_float", data=data, scaleoffset=3, **GROWING)
    group.create_dataset("big_endian", data=data.astype(">f8"), **GROWING, **deflate(4))
    # Filters in an order that h5py does not use.
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_chunk((4, 6))
    properties.set_deflate(1)
    properties.set_fletcher32()
    properties.set_shuffle()
    space = h5s.create_simple(SHAPE, (h5s.UNLIMITED, 6))
    odd = h5d.create(group.id, b"odd_order", h5t.IEEE_F64LE, space, properties)
    odd.write(h5s.ALL, h5s.ALL, data)
    # Every second chunk was written without its filter.
    dataset = group.create_dataset("skipped", SHAPE, "f8", **GROWING, **deflate(4))
    dataset[...] = data
    dataset.id.write_direct_chunk((4, 0), data[4:8].tobytes(), filter_mask=1)


def write_types(group):
    for order, name in [("<", "little"), (">", "big")]:
        for dtype in NUMBERS:
            data = numbers(dtype, SHAPE).astype(f"{order}{dtype}")
            group.create_dataset(f"{name}_{dtype}", data=data, **GROWING)
            group[f"scalar_{name}_{dtype}"] = numpy.array(0, data.dtype)
            group[f"fixed_{name}_{dtype}"] = data
    group.create_dataset("bool", data=numbers(bool, SHAPE), **GROWING)
    group["scalar_bool"] = False
    for base in ["u1", "<i4", ">i2"]:
        # Not all numbers have names.
        names = {f"N{i}": i for i in range(30)}
        dtype = h5py.enum_dtype(names, basetype=base)
        group.create_dataset(f"enum_{base[-2:]}", data=numbers(base, SHAPE), dtype=dtype, **GROWING)


def write_texts(group):
    growing = dict(chunks=(4,), maxshape=(None,))
    for name, dtype in {
        "utf8": h5py.string_dtype(),
        "ascii": h5py.string_dtype("ascii"),
        "fixed_utf8": h5py.string_dtype("utf-8", 12),
        "fixed_ascii": "S12",
        # Without room for the NUL of other types.
        "fixed_full": "S6",
    }.items():
        dtype = numpy.dtype(dtype)
        data = numpy.array([text.encode() for text in texts(10)], dtype)
        group.create_dataset(name, data=data, dtype=dtype, **growing)
        group.create_dataset(f"scalar_{name}", data=data[0], dtype=dtype)
    for name, padding in [("space", h5t.STR_SPACEPAD), ("terminated", h5t.STR_NULLTERM)]:
        type_ = h5t.C_S1.copy()
        type_.set_size(12)
        type_.set_strpad(padding)
        dataset = h5d.create(group.id, name.encode(), type_, h5s.create_simple((10,)))
        fill = b" " if name == "space" else b"\0"
        data = b"".join(text.encode().ljust(12, fill) for text in texts(10))
        dataset.write(h5s.ALL, h5s.ALL, numpy.frombuffer(data, "S12"), mtype=type_)
    group.create_dataset("gzip", data=texts(10), compression="gzip", **growing)


def write_bytes(group):
    dataset = group.create_dataset("bytes", (10,), h5py.vlen_dtype("u1"), maxshape=(None,))
    for i in range(10):
        dataset[i] = numpy.full(i % 4, i, "u1")


def write_unreadable(group):
    group["compound"] = numpy.zeros(3, [("a", "i4"), ("b", "f8")])
    group.create_dataset("reference", (3,), h5py.ref_dtype)[0] = group.ref
    group.create_dataset("region", (3,), h5py.regionref_dtype)
    group["opaque"] = numpy.array([b"abc"], "V3")
    times = numpy.array(["2026-01-01"], "M8[s]")
    group["datetime"] = times.astype(h5py.opaque_dtype(times.dtype))
    floats = group.create_dataset("vlen_float", (3,), h5py.vlen_dtype("f8"))
    floats[0] = [1.5, 2.5]
    group.create_dataset("array", (3,), numpy.dtype(("f4", (2, 2))))
    group["long_double"] = numpy.zeros(3, numpy.longdouble)
    group["texts_2d"] = [["a", "b"], ["c", "d"]]
    h5d.create(group.id, b"bits", h5t.STD_B8LE, h5s.create_simple((3,)))
    group["scalar_compound"] = numpy.zeros((), [("a", "i4"), ("b", "f8")])
    # A filter that does not exist.
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_chunk((10,))
    properties.set_filter(32999, h5z.FLAG_OPTIONAL, ())
    space = h5s.create_simple((10,), (h5s.UNLIMITED,))
    dataset = h5d.create(group.id, b"filter", h5t.IEEE_F64LE, space, properties)
    dataset.write_direct_chunk((0,), numbers("f8", (10,)).tobytes())
    group["readable"] = numbers("f8", SHAPE)


def write_links(group, folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["x"] = numbers("f8", SHAPE)
    group["data/x"] = numbers("f8", SHAPE)
    group["soft"] = h5py.SoftLink("data/x")
    group["soft_group"] = h5py.SoftLink("/links/data")
    group["hard"] = group["data/x"]
    group["external"] = h5py.ExternalLink("other.h5", "/x")
    group["no_target"] = h5py.SoftLink("/nothing")
    group["no_file"] = h5py.ExternalLink("nothing.h5", "/x")
    group["round"] = h5py.SoftLink("round")
    # Groups that contain each other.
    group["data/back"] = group
    group["data/itself"] = group["data"]
    group["named_type"] = numpy.dtype("f8")


def write_attributes(group):
    dataset = group.create_dataset("x", data=numbers("f8", SHAPE), **GROWING)
    attributes = dataset.attrs
    attributes["int"] = 3
    attributes["big_endian"] = numpy.int16(-5).astype(">i2")
    attributes["large"] = numpy.uint64(2**64 - 1)
    attributes["float"] = 0.1
    attributes["half"] = numpy.float16(0.5)
    attributes["single"] = numpy.float32(0.25)
    attributes["infinity"] = numpy.inf
    attributes["complex"] = 1 - 2j
    attributes["bool"] = True
    attributes["text"] = "größer 🧠"
    attributes["bytes_text"] = numpy.bytes_("fixed")
    attributes["no_text"] = ""
    attributes["list"] = [1, 2, 3]
    attributes["matrix"] = numpy.arange(6).reshape(2, 3)
    attributes["texts"] = ["a", "ü"]
    attributes["fixed_texts"] = numpy.array([b"a", b"bc"])
    attributes["bools"] = [True, False]
    attributes["no_elements"] = numpy.zeros(0)
    attributes["nothing"] = h5py.Empty("f8")
    attributes["enum"] = numpy.array(1, h5py.enum_dtype({"A": 0, "B": 1}, "i4"))
    attributes["größe 🧠"] = 1
    # Attributes without a counterpart.
    attributes["reference"] = group.ref
    attributes["compound"] = numpy.zeros((), [("a", "i4")])
    lists = numpy.empty(1, object)
    lists[0] = numpy.array([1, 2], "i4")
    attributes.create("vlen", lists, dtype=h5py.vlen_dtype("i4"))
    attributes["opaque"] = numpy.void(b"abc")
    # More than fits in the header of an object.
    attributes.create("long", numpy.arange(8000, dtype="i8"))
    for i in range(100):
        group.attrs[f"number {i}"] = i


def write_null(group):
    group["number"] = h5py.Empty("f8")
    group["text"] = h5py.Empty(h5py.string_dtype())


def write_main(folder):
    with h5py.File(folder / "main.h5", "w") as file:
        file.attrs["title"] = "by h5py"
        write_layouts(file.create_group("layouts"))
        write_growing(file.create_group("growing"))
        write_filters(file.create_group("filters"))
        write_types(file.create_group("types"))
        write_texts(file.create_group("texts"))
        write_bytes(file.create_group("bytes"))
        write_unreadable(file.create_group("unreadable"))
        write_links(file.create_group("links"), folder)
        write_attributes(file.create_group("attributes"))
        write_null(file.create_group("null"))
        deep = file
        for level in range(50):
            deep = deep.create_group(f"level {level}")
        deep["x"] = numbers("f8", SHAPE)


def write_sparse(path, **options):
    """Datasets with chunks that were never written."""
    with h5py.File(path, "w", **options) as file:
        for name, filters in SPARSE.items():
            dataset = file.create_dataset(name, (35,), "i8", chunks=(10,), maxshape=(None,), **filters)
            if name != "nothing":
                dataset[:10] = numbers("i8", (10,))
                dataset[20:30] = numbers("i8", (10,))


def check_sparse(path):
    with h5py.File(path) as file:
        for name in SPARSE:
            dataset = file[name]
            expected = numpy.full(43, dataset.fillvalue)
            if name != "nothing":
                expected[:10] = expected[20:30] = numbers("i8", (10,))
            expected[35:] = numbers("i8", (8,))
            assert (dataset[()] == expected).all(), (name, dataset[()])


def write_small(path, **options):
    """Writes a file with a few datasets in one form."""
    with h5py.File(path, "w", **options) as file:
        file["fixed"] = numbers("f8", SHAPE)
        file.create_dataset("growing", data=numbers("f8", SHAPE), compression="gzip", **GROWING)
        file.create_dataset("lzf", data=numbers("f4", SHAPE), compression="lzf", shuffle=True, **GROWING)
        file.create_dataset("chunked", data=numbers("i4", SHAPE), chunks=(3, 4))
        file.create_dataset("one_chunk", data=numbers("f8", SHAPE), chunks=SHAPE)
        file.create_dataset("all_axes", data=numbers("f8", SHAPE), chunks=(3, 4), maxshape=(None, None))
        file["group/scalar"] = 0.0
        file["group/complex"] = numbers("c16", SHAPE)
        file["text"] = texts(10)
        file.attrs["title"] = "by h5py"


def write_simrecorder(path, **options):
    """Writes a file like the original SimRecorder: record by record, with one record per chunk."""
    with h5py.File(path, "w", **options) as file:
        for name, shape in [("train/loss", ()), ("train/w", (3, 2))]:
            records = numbers("f4", (20, *shape))
            how = dict(chunks=(1, *shape), maxshape=(None, *shape), compression="lzf")
            dataset = file.create_dataset(name, data=records[:1], **how)
            for i, record in enumerate(records[1:], 1):
                dataset.resize(i + 1, axis=0)
                dataset[i] = record


def write_netcdf(path):
    with h5netcdf.File(path, "w") as file:
        file.dimensions = {"time": None, "neuron": 6}
        file.resize_dimension("time", 10)
        v = file.create_variable("v", ("time", "neuron"), "f8", fillvalue=-1.0)
        v[...] = numbers("f8", SHAPE)
        v.attrs["units"] = "mV"
        file.create_variable("time", ("time",), "f8")[...] = numbers("f8", (10,))
        file.create_variable("/group/w", ("time",), "i4")[...] = numbers("i4", (10,))


def write(folder):
    write_main(folder)
    for name in FORMATS:
        write_small(folder / f"{name}.h5", libver=name)
    for size in USER_BLOCKS:
        path = folder / f"block_{size}.h5"
        write_small(path, userblock_size=size)
        with open(path, "r+b") as file:
            file.write(b"#!/bin/sh\n".ljust(size, b"#"))
    for name, options in {
        "page": dict(fs_strategy="page", fs_persist=True, fs_page_size=4096),
        "aggregate": dict(fs_strategy="aggregate"),
        "order": dict(track_order=True),
    }.items():
        write_small(folder / f"{name}.h5", **options)
    write_netcdf(folder / "netcdf.h5")
    for name in ["v110", "latest"]:
        write_simrecorder(folder / f"simrecorder_{name}.h5", libver=name)
    write_sparse(folder / "sparse.h5")
    write_sparse(folder / "sparse_v110.h5", libver="v110")
    with h5py.File(folder / "many.h5", "w") as file:
        group = file.create_group("many")
        for i in range(10_000):
            group.create_dataset(f"{i}", data=i)


def check_numbers(dataset):
    """Checks that it contains 0, 1, 2, … from start to end."""
    data = dataset[()]
    if h5py.check_string_dtype(dataset.dtype):
        data = dataset.asstr()[()]
        data = [data] if dataset.ndim == 0 else list(data)
        assert data == texts(len(data)), (dataset.name, data)
    elif dataset.name == "/bytes/bytes":
        for i, row in enumerate(data):
            assert (row == numpy.full(i % 4, i, "u1")).all()
    else:
        assert (data == numbers(data.dtype, data.shape)).all(), (dataset.name, data)


def check_file(path):
    """Checks the numbers in a file. Returns the number of datasets to which the recorder appended."""
    with h5py.File(path) as file:
        count = 0

        def check_one(name, dataset):
            nonlocal count
            if isinstance(dataset, h5py.Dataset) and not name.startswith(("unreadable", "null")):
                check_numbers(dataset)
                grows = dataset.ndim > 0 and dataset.maxshape[0] is None
                if grows and name.split("/")[0] in GROWN:
                    may_grow = not name.startswith("texts/fixed") and name != "types/enum_i2"
                    assert (len(dataset) > 10) == may_grow, name
                    count += may_grow

        file.visititems(check_one)
        assert file.attrs["title"] == "by h5py"
        return count


def check_attributes(path):
    with h5py.File(path) as file:
        attributes = file["attributes/x"].attrs
        assert file[attributes["reference"]] == file["attributes"]
        assert attributes["compound"]["a"] == 0
        assert attributes["vlen"][0].tolist() == [1, 2]
        assert attributes["opaque"].tobytes() == b"abc"
        assert attributes["new"] == "text" and "matrix" not in attributes


def check_unharmed(path):
    with h5py.File(path) as file:
        assert len(file["attributes/x"].attrs) > 25 and len(file["attributes"].attrs) == 100
        assert file["unreadable/vlen_float"][0].tolist() == [1.5, 2.5]
        assert file["links/soft_group/x"] == file["links/data/x"] == file["links/hard"]
        assert file.get("links/no_target", getlink=True).path == "/nothing"
        assert isinstance(file["links/named_type"], h5py.Datatype)


def check(folder):
    check_unharmed(folder / "main.h5")
    assert check_file(folder / "main.h5") > 80
    for name in ["earliest", "v108", "v110", "page", "aggregate", "order"]:
        assert check_file(folder / f"{name}.h5") == 2, name
    for size in USER_BLOCKS:
        path = folder / f"block_{size}.h5"
        assert check_file(path) == 2, path
        assert path.read_bytes()[:size] == b"#!/bin/sh\n".ljust(size, b"#")


match sys.argv[1:]:
    case ["write", path]:
        write(Path(path))
    case ["check", path]:
        check(Path(path))
    case ["sparse", path]:
        check_sparse(path)
    case ["unharmed", path]:
        check_unharmed(path)
    case ["attributes", path]:
        check_attributes(path)
    case _:
        sys.exit(__doc__)
