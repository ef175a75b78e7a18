"""Opens a recording of timelines with every reader that has an index, and selects by time.

Arguments: the path of the recording, and JSON: for each group the name of its coordinate, the type that the
index has, and its type when durations are decoded. With a third argument `growing`, a recording in LMDB is
between two checkpoints: xarray may refuse a group, and no reader shows anything that was not recorded.
"""

import json
import sys
import warnings

import numpy
import xarray


def readers(path, group, **options):
    """The same group, opened by every reader."""
    if path.endswith(".h5"):
        for engine in ["h5netcdf", "netcdf4"]:
            yield engine, xarray.open_dataset(path, engine=engine, group=group, **options)
            tree = xarray.open_datatree(path, engine=engine, **options)
            yield f"{engine} tree", tree[group].to_dataset()
        return
    from simrecorder_lmdb import LmdbStore

    store = LmdbStore(path) if path.endswith(".mdb") else path
    options["consolidated"] = False
    yield "zarr", xarray.open_zarr(store, group=group, **options)
    yield "zarr tree", xarray.open_datatree(store, engine="zarr", **options)[group].to_dataset()


def check(reader, dataset, name, dtype):
    index = dataset.indexes[name]
    assert index.dtype == dtype, (reader, name, index.dtype, dtype)
    assert index.is_monotonic_increasing and index.is_unique, (reader, index)
    assert set(dataset.sizes) == {name, "x"}, (reader, dataset.sizes)
    for member in ["v", "u"]:
        assert dataset[member].dims[0] == name, (reader, dataset[member].dims)
        part = dataset[member].sel({name: slice(index[3], index[6])}).values
        assert (part.reshape(4, -1)[:, 0] == numpy.arange(3, 7)).all(), (reader, part)
        nearest = dataset[member].sel({name: index[5]}, method="nearest").values
        assert nearest.flat[0] == 5, (reader, nearest)
    assert dataset["u"].sel(x=0.5).dims == (name,), reader
    assert dataset["x"].attrs["units"] == "m"


def check_growing(path, group, name):
    """Every array is a prefix of what was recorded, and xarray shows all of them as such or none."""
    import zarr
    from simrecorder_lmdb import LmdbStore

    store = LmdbStore(path)
    arrays = zarr.open_group(store, mode="r")[group]
    lens = {array: arrays[array].shape[0] for array in [name, "v", "u"]}
    for array in ["v", "u"]:
        values = arrays[array][...].T
        assert (values == numpy.arange(lens[array])).all(), (group, array, values)
    coordinate = arrays[name][...]
    assert (coordinate[1:] > coordinate[:-1]).all(), (group, coordinate)
    try:
        with xarray.open_zarr(store, group=group, consolidated=False) as dataset:
            assert len(set(lens.values())) == 1, (group, dataset, lens)
    except ValueError as error:
        assert "conflicting sizes" in str(error) and len(set(lens.values())) > 1, (error, lens)
    return lens


def main(path, groups, state="closed"):
    warnings.simplefilter("error")
    # A compiled part of netCDF4 was built for another version of NumPy.
    warnings.filterwarnings("ignore", message="numpy.ndarray size changed")
    if state == "growing":
        lens = [check_growing(path, group, it[0]) for group, it in json.loads(groups).items()]
        assert any(max(it.values()) > 0 for it in lens), lens
        return
    for group, (name, dtype, decoded) in json.loads(groups).items():
        for reader, dataset in readers(path, group):
            check(reader, dataset, name, dtype)
        for reader, dataset in readers(path, group, decode_timedelta=True):
            check(reader, dataset, name, decoded)


main(*sys.argv[1:])
