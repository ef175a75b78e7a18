"""Writes hierarchies of Zarr V2 with zarr-python 2, for `zarr_v2.rs`.

`write_zarr_v2.py KIND PATH` writes into a `directory`, a folder of LMDB (`lmdb`), or a single file of
LMDB (`file`), or one of LMDB with names that no writer of Zarr makes (`names`). The elements of every array are 0, 1, 2, … in row-major order, as in `foreign.py`, except
for those in the groups `missing`, which were never written, and `unreadable`.
"""

import sys
import warnings

import numcodecs
import numpy
import zarr
from numcodecs import Adler32, Blosc, Delta, Fletcher32, GZip, Shuffle, Zlib, Zstd

assert zarr.__version__.startswith("2."), zarr.__version__

TYPES = ["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"]
SHAPE, CHUNKS = (10, 6), (3, 4)


def numbers(dtype, shape):
    """0, 1, 2, … as elements of a type; texts are `text 0`, `text 1`, …."""
    i = numpy.arange(numpy.prod(shape, dtype=int)).reshape(shape)
    if dtype is str:
        return numpy.array([f"text {i}" for i in i.flat], dtype=object).reshape(shape)
    dtype = numpy.dtype(dtype)
    if dtype.kind in "US":
        return numpy.array([f"text {i}" for i in i.flat], dtype=dtype).reshape(shape)
    if dtype.kind == "b":
        return i % 2 == 1
    return (i - 1j * i if dtype.kind == "c" else i).astype(dtype)


def write(group, name, dtype="f8", shape=SHAPE, chunks=CHUNKS, **how):
    array = group.create_dataset(name, shape=shape, chunks=chunks, dtype=dtype, **how)
    # zarr-python divides by the length of such a chunk.
    if array.size:
        array[...] = numbers(dtype, shape)
    return array


def write_layouts(root):
    group = root.create_group("layouts")
    write(group, "default", chunks=True)
    write(group, "one_row", chunks=(1, 6))
    write(group, "larger_than_the_array", chunks=(100, 100))
    write(group, "slashes", dimension_separator="/")
    write(group, "named").attrs["_ARRAY_DIMENSIONS"] = ["time", "x"]
    write(group, "three_axes", shape=(4, 3, 5), chunks=(3, 2, 2))
    write(group, "one_axis", shape=(10,), chunks=(4,))
    write(group, "scalar", shape=(), chunks=())
    write(group, "no_rows", shape=(0, 5), chunks=(2, 2))
    write(group, "no_columns", shape=(5, 0), chunks=(2, 2))
    write(group, "no_elements", shape=(0,), chunks=False)
    for order in "CF":
        write(group, f"{order}_order", order=order)
        write(group, f"{order}_order_3", shape=(4, 3, 5), chunks=(3, 2, 2), order=order)
    write(group, "F_order_big_endian", ">u2", order="F")
    nested = root.create_group("layouts/a/b/c")
    write(nested, "deep")
    write(root, "layouts/%percent")
    write(root, "layouts/__dunder")
    write(root, "layouts/zarr.json")


def write_codecs(root):
    group = root.create_group("codecs")
    write(group, "none", compressor=None)
    for level in [0, 1, 9]:
        write(group, f"zlib_{level}", compressor=Zlib(level))
        write(group, f"gzip_{level}", compressor=GZip(level))
    for level in [0, 1, 22]:
        write(group, f"zstd_{level}", compressor=Zstd(level))
    write(group, "zstd_checksum", compressor=Zstd(3, checksum=True))
    for cname in ["blosclz", "lz4", "lz4hc", "zlib", "zstd"]:
        for shuffle in [Blosc.AUTOSHUFFLE, Blosc.NOSHUFFLE, Blosc.SHUFFLE, Blosc.BITSHUFFLE]:
            write(group, f"blosc_{cname}_{shuffle}", compressor=Blosc(cname, 9, shuffle))
    write(group, "shuffle", compressor=Zlib(), filters=[Shuffle(8)])
    write(group, "adler32", filters=[Adler32()])
    write(group, "fletcher32", compressor=None, filters=[Fletcher32()])
    write(group, "two_filters", order="F", filters=[Shuffle(8), Adler32()])
    write(group, "blosc_as_filter", compressor=Zlib(), filters=[Blosc()])
    # Like the original SimRecorder: one record per chunk.
    blosc = Blosc("blosclz", 9, Blosc.BITSHUFFLE)
    write(group, "simrecorder", "f4", (20, 3, 2), (1, 3, 2), compressor=blosc)


def write_types(root):
    types, missing = root.create_group("types"), root.create_group("missing")
    for dtype in TYPES:
        for order in "<>":
            write(types, dtype + order, order + dtype)
        fill = numbers(dtype, (8,))[7]
        missing.create_dataset(dtype, shape=SHAPE, chunks=CHUNKS, dtype=dtype, fill_value=fill)
        null = f"null_{dtype}"
        missing.create_dataset(null, shape=SHAPE, chunks=CHUNKS, dtype=dtype, fill_value=None)
    for name, fill in [("nan", numpy.nan), ("infinity", -numpy.inf)]:
        missing.create_dataset(name, shape=SHAPE, chunks=CHUNKS, dtype="f8", fill_value=fill)
    complex_nan = complex(numpy.nan, numpy.inf)
    missing.create_dataset("complex", shape=SHAPE, chunks=CHUNKS, dtype="c16", fill_value=complex_nan)
    texts = root.create_group("texts")
    write(texts, "default", str, (10,), (4,))
    write(texts, "uncompressed", str, (10,), (4,), compressor=None)
    write(texts, "scalar", str, (), ())
    write(texts, "empty", str, (0,), (4,))
    for dtype in ["<U8", ">U8", "|S8"]:
        for name, how in [("", {}), ("_plain", {"compressor": None}), ("_gzip", {"compressor": GZip()})]:
            write(texts, dtype + name, dtype, (10,), (4,), **how)
        write(texts, f"{dtype}_scalar", dtype, (), ())
    texts.create_dataset("missing_U", shape=(3,), chunks=(4,), dtype="U8", fill_value="größe")
    texts.create_dataset("missing_S", shape=(3,), chunks=(4,), dtype="S8")
    texts.create_dataset("missing", shape=(3,), chunks=(4,), dtype=str, fill_value="größe")
    texts.create_dataset("zero", shape=(3,), chunks=(4,), dtype=str)
    partly = root.create_dataset("partly", shape=SHAPE, chunks=(2, 3), dtype="f8", fill_value=-1)
    partly[:4, :3] = numbers("f8", SHAPE)[:4, :3]


def write_unreadable(root):
    """Hierarchies that this version does not read. The test lists the errors."""
    group = root.create_group("unreadable")
    make = lambda name, dtype, **how: group.create_dataset(name, shape=(4,), dtype=dtype, **how)
    make("datetime", "M8[ns]")
    make("timedelta", "m8[s]")
    make("structured", [("x", "i4"), ("y", "f8", (2,))])
    make("filled_bytes", "S8", fill_value=b"x")
    make("raw", "V4")
    group.create_dataset("texts_2d", shape=(2, 2), dtype=str)
    make("delta", "i4", filters=[Delta("i4")])
    for codec in [numcodecs.LZ4(), numcodecs.LZMA(), numcodecs.BZ2()]:
        make(codec.codec_id, "i4", compressor=codec)
    for codec in ["Pickle", "JSON", "MsgPack", "VLenBytes"]:
        array = make(codec, object, object_codec=getattr(numcodecs, codec)())
        texts = numbers(str, (4,))
        is_bytes = codec == "VLenBytes"
        array[:] = numpy.array([b"a", b"b", b"c", b"d"], object) if is_bytes else texts
    # Like the original SimRecorder: a group with a pickle for each object.
    pickles = group.create_group("objects")
    for i in range(3):
        array = numpy.empty(1, object)
        array[0] = [numpy.ones((i, 1)), {"i": i}]
        pickles.create_dataset(f"{i}", data=array, object_codec=numcodecs.Pickle())
    group.attrs["why"] = ["NaN", float("nan"), -numpy.inf]


def write_all(store):
    root = zarr.group(store)
    root.attrs.update({"title": "by zarr-python 2", "simrecorder": {"node": "series"}})
    write_layouts(root)
    write_codecs(root)
    write_types(root)
    write_unreadable(root)
    zarr.consolidate_metadata(store)


def write_names(store):
    """One valid array, and entries whose keys are not paths."""
    write(zarr.group(store, path="a"), "good", shape=(10,), chunks=(4,))
    document, chunk = store["a/good/.zarray"], store["a/good/0"]
    names = ["..", ".", "", "a/..", "a//x", "/x", "a/good/..", "a/\n", "a/x/", "%/..", "x" * 300, "a/" + "y" * 260]
    for name in [name.encode() for name in names] + [b"\x00a", b"a/\x00"]:
        with store.db.begin(write=True) as transaction:
            transaction.put(name + b"/.zarray", bytes(document))
            transaction.put(name + b"/0", bytes(chunk))


def main(kind, path):
    # In LMDB, which later versions dropped.
    warnings.simplefilter("ignore")
    if kind == "directory":
        write_all(zarr.DirectoryStore(path))
        return
    store = zarr.LMDBStore(path, subdir=kind != "file")
    (write_names if kind == "names" else write_all)(store)
    store.close()


main(*sys.argv[1:])
