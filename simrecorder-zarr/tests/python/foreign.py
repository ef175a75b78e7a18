"""Zarr hierarchies that zarr-python and TensorStore write, for `foreign_python.rs`.

`foreign.py write PATH` writes them; `foreign.py check PATH` checks what the recorder made of
them. The elements of every array are 0, 1, 2, … in row-major order, also after what the recorder
appended: see `numbers`. Arrays in the group `missing` were never written.
"""

import json
import sys
import warnings
from pathlib import Path

import ml_dtypes
import numpy
import tensorstore
import xarray
import zarr
from zarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    GzipCodec,
    ShardingCodec,
    TransposeCodec,
    ZstdCodec,
)

TYPES = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "complex64", "complex128",
]  # fmt: skip
SHAPE, CHUNKS = (10, 6), (3, 4)


def numbers(dtype, shape):
    """0, 1, 2, … as elements of a type; texts are `text 0`, `text 1`, …."""
    i = numpy.arange(numpy.prod(shape, dtype=int)).reshape(shape)
    if dtype == "bool":
        return i % 2 == 1
    if dtype == "string":
        return numpy.array([f"text {i}" for i in i.flat], dtype=object).reshape(shape)
    return (i - 1j * i if dtype.startswith("complex") else i).astype(dtype)


def write(root, name, dtype="float64", shape=SHAPE, chunks=CHUNKS, **how):
    array = root.create_array(name, shape=shape, chunks=chunks, dtype=dtype, **how)
    array[...] = numbers(dtype, shape)


def write_layouts(root):
    layouts = root.create_group("layouts")
    write(layouts, "default", chunks="auto")
    write(layouts, "one_row", chunks=(1, 6))
    write(layouts, "larger_than_the_array", chunks=(100, 100))
    write(layouts, "dots", chunk_key_encoding={"name": "default", "separator": "."})
    for name, separator in [("v2_dots", "."), ("v2_slashes", "/")]:
        write(layouts, name, chunk_key_encoding={"name": "v2", "separator": separator})
    write(layouts, "named", dimension_names=["time", "x"], attributes={"units": "mV"})
    write(layouts, "three_axes", shape=(4, 3, 5), chunks=(3, 2, 2))
    write(layouts, "one_axis", shape=(10,), chunks=(4,))
    write(layouts, "no_rows", shape=(0, 5), chunks=(2, 2))
    write(layouts, "no_columns", shape=(5, 0), chunks=(2, 2))
    write(layouts, "empty", shape=(0,), chunks=(2,))
    write(layouts, "scalar", shape=(), chunks=())
    v2_scalar = {"name": "v2", "separator": "."}
    write(layouts, "v2_scalar", shape=(), chunks=(), chunk_key_encoding=v2_scalar)


def write_codecs(root):
    codecs = root.create_group("codecs")
    write(codecs, "none", compressors=None)
    write(codecs, "gzip", compressors=GzipCodec(level=3))
    write(codecs, "zstd", compressors=ZstdCodec(level=0))
    write(codecs, "zstd_checksum", compressors=ZstdCodec(level=3, checksum=True))
    write(codecs, "crc32c", compressors=[Crc32cCodec()])
    write(codecs, "two", compressors=[GzipCodec(), Crc32cCodec()])
    write(codecs, "big_endian", serializer=BytesCodec(endian="big"), compressors=None)
    write(codecs, "transpose", filters=[TransposeCodec(order=(1, 0))])
    order = [TransposeCodec(order=(2, 0, 1))]
    write(codecs, "transpose_3", shape=(4, 3, 5), chunks=(3, 2, 2), filters=order)
    for cname in ["lz4", "lz4hc", "blosclz", "zstd", "zlib"]:
        for shuffle in ["noshuffle", "shuffle", "bitshuffle"]:
            blosc = BloscCodec(cname=cname, clevel=5, shuffle=shuffle)
            write(codecs, f"blosc_{cname}_{shuffle}", compressors=blosc)


def write_shards(root):
    shards = root.create_group("shards")
    write(shards, "default", chunks=(2, 3), shards=(4, 6))
    write(shards, "one", chunks=(2, 3), shards=(10, 6))
    write(shards, "uncompressed", chunks=(2, 3), shards=(4, 6), compressors=None)
    inner = {"chunks": (2, 3), "shards": (4, 6), "filters": [TransposeCodec(order=(1, 0))]}
    write(shards, "inner_codecs", **inner, compressors=[BloscCodec(), Crc32cCodec()])
    start = ShardingCodec(chunk_shape=(2, 3), codecs=[BytesCodec()], index_location="start")
    write(shards, "index_at_start", chunks=(4, 6), serializer=start, compressors=None)
    nested = ShardingCodec(chunk_shape=(4, 6), codecs=[start])
    write(shards, "nested", shape=(16, 6), chunks=(8, 6), serializer=nested, compressors=None)
    partly = shards.create_array("partly", shape=SHAPE, chunks=(1, 3), shards=(4, 6), dtype="f8")
    partly[:4, :3] = numbers("float64", SHAPE)[:4, :3]


def write_types(root):
    types, missing = root.create_group("types"), root.create_group("missing")
    for dtype in TYPES:
        write(types, dtype, dtype)
        if numpy.dtype(dtype).itemsize > 1:
            write(types, f"{dtype}_big_endian", dtype, serializer=BytesCodec(endian="big"))
        fill = numbers(dtype, (8,))[7]
        missing.create_array(dtype, shape=SHAPE, chunks=CHUNKS, dtype=dtype, fill_value=fill)
    for name, fill in [("nan", numpy.nan), ("infinity", -numpy.inf)]:
        missing.create_array(name, shape=SHAPE, chunks=CHUNKS, dtype="float64", fill_value=fill)
    texts = root.create_group("texts")
    write(texts, "default", "string", shape=(10,), chunks=(4,))
    write(texts, "uncompressed", "string", shape=(10,), chunks=(4,), compressors=None)
    write(texts, "scalar", "string", shape=(), chunks=())
    write(texts, "empty", "string", shape=(0,), chunks=(4,))
    texts.create_array("missing", shape=(3,), chunks=(4,), dtype="string", fill_value="größe")


def write_unreadable(root):
    """Hierarchies that this version does not read. The test lists the errors."""
    group = root.create_group("unreadable")
    make = lambda name, dtype, **how: group.create_array(name, shape=(4,), dtype=dtype, **how)
    make("datetime", "datetime64[ns]")
    make("timedelta", "timedelta64[s]")
    make("structured", [("x", "i4"), ("y", "f8")])
    make("fixed_text", "U8")
    make("fixed_bytes", "S8")
    make("raw", "V4")
    make("variable_bytes", "variable_length_bytes")
    group.create_array("texts_2d", shape=(2, 2), dtype="string")
    make("delta", "int32", filters=[zarr.codecs.numcodecs.Delta(dtype="int32")])
    make("readable", "int32")[:] = numbers("int32", (4,))
    for name, change in {
        "codec": {"codecs": [{"name": "bytes"}, {"name": "example.unheard-of"}]},
        "grid": {"chunk_grid": {"name": "rectilinear", "configuration": {"chunk_shapes": [[4]]}}},
        "keys": {"chunk_key_encoding": {"name": "example.unheard-of"}},
        "transformer": {"storage_transformers": [{"name": "example.unheard-of"}]},
        "field": {"example.unheard-of": {"must_understand": True}},
    }.items():
        path = Path(root.store.root) / "unreadable"
        document = json.loads((path / "readable/zarr.json").read_text()) | change
        (path / name).mkdir()
        (path / name / "zarr.json").write_text(json.dumps(document))
    v2 = zarr.create_array(root.store, name="unreadable/v2", shape=(4,), dtype="f8", zarr_format=2)
    v2[:] = 1.0


def write_with_tensorstore(path):
    def write(name, dtype="float64", shape=SHAPE, **metadata):
        array = tensorstore.open(
            {
                "driver": "zarr3",
                "kvstore": {"driver": "file", "path": f"{path}/{name}/"},
                "metadata": {"data_type": dtype, "shape": list(shape), **metadata},
            },
            create=True,
        ).result()
        array[...] = numbers(dtype, shape)

    write("default")
    write("named", dimension_names=["time", None], attributes={"units": "mV"})
    bytes_codec = {"name": "bytes", "configuration": {"endian": "big"}}
    order = {"name": "transpose", "configuration": {"order": [1, 0]}}
    write("codecs", codecs=[order, bytes_codec, {"name": "gzip"}, {"name": "crc32c"}])
    sharding = {"chunk_shape": [2, 3], "codecs": [order, bytes_codec, {"name": "zstd"}]}
    grid = {"name": "regular", "configuration": {"chunk_shape": [4, 6]}}
    sharding_codec = {"name": "sharding_indexed", "configuration": sharding}
    write("shards", chunk_grid=grid, codecs=[sharding_codec])
    # Blosc in zarr-python is built without Snappy.
    snappy = {"name": "blosc", "configuration": {"cname": "snappy", "clevel": 5}}
    write("snappy", codecs=[bytes_codec, snappy])
    write("bfloat16", "bfloat16", shape=(10, 4))
    write("v2_keys", chunk_key_encoding={"name": "v2"})


def write_with_xarray(path):
    coordinates = {"time": numbers("float64", (10,)), "name": ("x", numbers("string", (6,)))}
    v = xarray.DataArray(numbers("float32", SHAPE), dims=["time", "x"], attrs={"units": "mV"})
    dataset = xarray.Dataset({"v": v}, coordinates, attrs={"title": "by xarray"})
    dataset.to_zarr(path, group="xarray", mode="a", zarr_format=3, consolidated=True)


def write_all(path):
    # These arrays have types and codecs that other software may not know.
    warnings.simplefilter("ignore")
    root = zarr.create_group(path, attributes={"title": "by zarr-python"})
    # First, because it copies all metadata into the root.
    write_with_xarray(path)
    write_layouts(root)
    write_codecs(root)
    write_shards(root)
    write_types(root)
    write_unreadable(root)
    write_with_tensorstore(f"{path}/tensorstore")
    # TensorStore writes no group above an array.
    zarr.create_group(f"{path}/tensorstore")
    for group in ["layouts", "codecs"]:
        zarr.consolidate_metadata(path, path=group, zarr_format=3)


def check_all(path):
    """Every array that the recorder appended to still contains 0, 1, 2, ….""" 
    for group in ["layouts", "codecs", "shards", "types", "texts", "xarray"]:
        # On its own, so that a copy of the metadata in it would be used.
        arrays = dict(zarr.open_group(path, path=group, mode="r").arrays())
        assert len(arrays) == sum(1 for _ in Path(path, group).glob("*/zarr.json"))
        for name, array in arrays.items():
            dtype = array.dtype.name if array.dtype.kind != "T" else "string"
            if name not in ["partly", "missing"]:
                assert (array[...] == numbers(dtype, array.shape)).all(), (name, array[...])
                if array.ndim > 0 and 0 not in array.shape:
                    assert array.shape[0] > 10, (name, array.shape)
    for name in ["default", "codecs", "shards", "snappy", "bfloat16", "v2_keys"]:
        spec = {"driver": "zarr3", "kvstore": f"file://{path}/tensorstore/{name}/"}
        array = tensorstore.open(spec).result()
        expected = numbers(array.dtype.name, array.shape)
        assert (array.read().result() == expected).all(), name


match sys.argv[1:]:
    case ["write", path]:
        write_all(path)
    case ["check", path]:
        check_all(path)
    case _:
        sys.exit(__doc__)
