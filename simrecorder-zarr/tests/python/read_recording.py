"""Reads the recording that `python_reads.rs` makes, and compares every bit.

Arguments: what is to read, one of the names in `main`, and the path of the recording; for
`lmdb-entries` also the path of the same recording in a directory.
"""

import math
import pickle
import sys
import warnings

import msgpack
import tensorstore
import xarray
import zarr
from expected import GROUPS, TYPES, check_net, check_rounded, check_text, refused, rows, same
from expected import check_elements as check_elements_at
from simrecorder_lmdb import LmdbStore
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore

NET = ["v", "never", "no_text", "rate", "rare", "near", "far", "seldom", "Δt 🧠", "%__x"]


def check_elements(read, dtype):
    path = lambda group: f"{group}/bfloat16/x" if dtype == "bfloat16" else f"{group}/{dtype}"
    check_elements_at(read, dtype, path)


def check_bytes(read):
    for i, row in enumerate(rows(read("kinds/bytes/ends"), read("kinds/bytes/values"))):
        assert row.tobytes() == bytes([i] * (i % 4))
    for i, row in enumerate(rows(read("kinds/object/ends"), read("kinds/object/values"))):
        expected = {"step": i, "limit": 0.5, "names": ["E", "I"]}
        assert msgpack.unpackb(row.tobytes()) == expected
    assert read("kinds/values/bytes").tobytes() == bytes([0, 1, 254, 255])
    assert read("kinds/values/nothing").shape == (0,)
    unpacked = msgpack.unpackb(read("kinds/values/object").tobytes())
    assert unpacked == [1, None, math.inf], unpacked


def check_attributes(attributes):
    assert attributes["units"] == "mV"
    assert attributes["nested"] == {"list": [1, 2.5, None], "größe": "Δ"}
    assert attributes["_simrecorder"] == "an attribute of the user"


def check_other_attributes(rows, value):
    """Default names of a ragged series and of a value."""
    assert (rows["units"], rows["comment"]) == ("ms", "größe"), rows
    assert value["units"] == "pA", value


def check_lossy(path):
    values = zarr.open_group(path, mode="r")["x"][...]
    check_rounded(values)


def read_with_zarr(store):
    root = zarr.open_group(store, mode="r")
    read = lambda path: root[path][...]
    for dtype in TYPES:
        check_elements(read, dtype)
    check_bytes(read)
    check_text(read)
    check_net(read, "%__x")
    check_attributes(root["net/v"].attrs)
    assert root["net"].attrs["title"] == "a network"
    assert root["net/v"].metadata.dimension_names == ("time", "neuron")
    assert root["net/rate"].metadata.dimension_names == ("rate_record",)
    assert root["net/no_rows/ends"].metadata.dimension_names == ("trial",)
    check_other_attributes(root["net/no_rows"].attrs, root["kinds/values/large"].attrs)
    assert sorted(root["net"].array_keys()) == sorted(NET)
    assert sorted(root["net"].group_keys()) == ["no_rows"]
    for group in GROUPS:
        assert sorted(name for name, _ in root[group].members()) == sorted(TYPES + ["bfloat16"])
    refused(lambda: root["scalars/bfloat16/x"], "bfloat16")
    refused(lambda: list(root["scalars/bfloat16"].members()), "bfloat16")
    # Parts of arrays, across chunks and steps.
    same(root["arrays/float64"][2:9:3, 1], read("arrays/float64")[2:9:3, 1], "a part")


def read_with_xarray(store):
    group = lambda path: xarray.open_zarr(store, group=path, consolidated=False, chunks=None)
    opened = {}

    def read(path):
        parent, name = path.rsplit("/", 1)
        if parent not in opened:
            opened[parent] = group(parent)
        return opened[parent][name].values

    for dtype in TYPES:
        check_elements(read, dtype)
    check_bytes(read)
    check_text(read)
    check_net(read, "%__x")
    refused(lambda: group("scalars/bfloat16"), "bfloat16")
    net = group("net")
    assert sorted(net.variables) == sorted(NET)
    assert net["v"].dims == ("time", "neuron")
    assert net["near"].dims == ("time", "near_axis_1")
    assert net["far"].dims == ("time", "far_axis_1")
    assert net["seldom"].dims == ("seldom_record", "neuron")
    check_attributes(net["v"].attrs)
    assert net.attrs["title"] == "a network"
    no_rows = group("net/no_rows")
    assert no_rows["ends"].dims == ("trial",)
    check_other_attributes(no_rows.attrs, group("kinds/values")["large"].attrs)


def read_with_tensorstore(path):
    def open_array(array):
        kvstore = {"driver": "file", "path": f"{path}/{array}/"}
        return tensorstore.open({"driver": "zarr3", "kvstore": kvstore}, read=True).result()

    read = lambda array: open_array(array).read().result()
    for dtype in [*TYPES, "bfloat16"]:
        check_elements(read, dtype)
    check_bytes(read)
    check_net(read, "%__x")
    refused(lambda: open_array("kinds/text"), "string")
    v = open_array("net/v")
    assert v.domain.labels == ("time", "neuron")
    assert v.dimension_units == (None, None)
    check_attributes(v.spec().to_json()["metadata"]["attributes"])


def compare_stores(path, directory):
    """The store for LMDB returns the same as zarr-python's store for the same entries in files."""
    lmdb, local = LmdbStore(path), LocalStore(directory, read_only=True)
    assert lmdb == LmdbStore(path) == pickle.loads(pickle.dumps(lmdb)) != LmdbStore("/" + path)
    assert lmdb.read_only and not lmdb.supports_writes and not lmdb.supports_deletes
    buffer = default_buffer_prototype()

    def get(store, key, part=None):
        value = sync(store.get(key, buffer, part))
        return None if value is None else value.to_bytes()

    def collect(names):
        async def collected():
            return sorted([name async for name in names])

        return sync(collected())

    keys = collect(local.list())
    assert len(keys) > 400 and collect(lmdb.list()) == keys
    for key in keys:
        assert get(lmdb, key) == get(local, key), key
        assert sync(lmdb.exists(key))
    prefixes = {key[:end] for key in keys for end in (0, len(key) // 2, key.rfind("/"), len(key))}
    for prefix in prefixes | {"nothing", "net/v/c/", "ne", "\U0010ffff"}:
        assert collect(lmdb.list_prefix(prefix)) == [key for key in keys if key.startswith(prefix)]
        assert collect(lmdb.list_dir(prefix)) == collect(local.list_dir(prefix)), prefix
    for key in ["nothing", "", "net", "net/v", "\0tnet/v\0\0\0\0\0", "\U0010ffff"]:
        assert get(lmdb, key) is None
        assert not sync(lmdb.exists(key))
    large, small = max(keys, key=lambda key: len(get(lmdb, key))), "net/never/zarr.json"
    assert len(get(lmdb, large)) > 100_000
    for key in [large, small]:
        whole = get(lmdb, key)
        for part, expected in [
            (RangeByteRequest(0, 9), whole[:9]),
            (RangeByteRequest(5, len(whole)), whole[5:]),
            (RangeByteRequest(7, len(whole) + 9), whole[7:]),
            (RangeByteRequest(4, 4), b""),
            (OffsetByteRequest(11), whole[11:]),
            (SuffixByteRequest(13), whole[-13:]),
            (SuffixByteRequest(len(whole) + 9), whole),
        ]:
            assert get(lmdb, key, part) == expected, part
    requests = [(large, RangeByteRequest(1, 3)), ("nothing", None), (small, SuffixByteRequest(2))]
    parts = sync(lmdb.get_partial_values(buffer, requests))
    expected = [get(lmdb, large)[1:3], None, get(lmdb, small)[-2:]]
    assert [part and part.to_bytes() for part in parts] == expected
    refused(lambda: zarr.open_group(lmdb, mode="a").create_group("new"), "read-only")


def main(reader, path, *others):
    # For example: this is not recognised as a part of a Zarr hierarchy.
    warnings.simplefilter("error", UserWarning)
    match reader:
        case "zarr":
            read_with_zarr(path)
        case "xarray":
            read_with_xarray(path)
        case "tensorstore":
            read_with_tensorstore(path)
        case "lossy":
            check_lossy(path)
        case "lmdb-lossy":
            check_lossy(LmdbStore(path))
        case "lmdb-zarr":
            read_with_zarr(LmdbStore(path))
        case "lmdb-xarray":
            read_with_xarray(LmdbStore(path))
        case "lmdb-entries":
            compare_stores(path, *others)
        case _:
            sys.exit(f"there is no reader '{reader}'")


main(*sys.argv[1:])
