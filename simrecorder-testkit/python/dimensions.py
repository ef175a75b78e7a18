"""Opens a recording with every reader that knows names of dimensions, and checks what each shows.

Arguments: the path of the recording, and JSON: for each group the arrays in it, each with its shape and the
names of its axes (`null` for any name), and the names of its coordinates. Every array counts its
elements from 0, so that padding is visible.
"""

import json
import sys
import warnings

import numpy
import xarray


def check_array(reader, name, values, dims, expected):
    values = numpy.ma.asarray(values)
    assert not numpy.ma.is_masked(values), (reader, name, values)
    values = numpy.asarray(values)
    shape = tuple(expected["shape"])
    assert values.shape == shape, (reader, name, values.shape, shape)
    assert (values == numpy.arange(values.size).reshape(shape)).all(), (reader, name, values)
    assert len(dims) == len(expected["dims"]), (reader, name, dims)
    for dim, wanted in zip(dims, expected["dims"]):
        assert wanted is None or dim == wanted, (reader, name, dims, expected["dims"])


def check_dataset(reader, dataset, arrays, coordinates):
    for name, expected in arrays.items():
        check_array(reader, name, dataset[name].values, dataset[name].dims, expected)
    assert sorted(dataset.coords) == sorted(coordinates), (reader, dataset)
    for coordinate in coordinates:
        for name in arrays:
            if name != coordinate and coordinate in dataset[name].dims:
                selected = dataset[name].sel({coordinate: 1}).values
                by_index = dataset[name].isel({coordinate: 1}).values
                assert (selected == by_index).all(), (reader, name, coordinate)


def check_hdf5(path, group, arrays, coordinates):
    import h5netcdf
    import netCDF4

    for engine, options in [("h5netcdf", {"phony_dims": "access"}), ("netcdf4", {})]:
        with xarray.open_dataset(path, engine=engine, group=group, **options) as dataset:
            check_dataset(engine, dataset, arrays, coordinates)
    with netCDF4.Dataset(path) as file:
        for name, expected in arrays.items():
            variable = file[group][name]
            check_array("netCDF4", name, variable[...], variable.dimensions, expected)
    with h5netcdf.File(path, "r", phony_dims="access") as file:
        for name, expected in arrays.items():
            variable = file[group][name]
            check_array("h5netcdf.File", name, variable[...], variable.dimensions, expected)


def check_zarr(path, group, arrays, coordinates):
    import zarr
    from simrecorder_lmdb import LmdbStore

    store = LmdbStore(path) if path.endswith(".mdb") else path
    root = zarr.open_group(store, mode="r")
    for name, expected in arrays.items():
        array = root[group][name]
        check_array("zarr", name, array[...], array.metadata.dimension_names, expected)
    with xarray.open_zarr(store, group=group, consolidated=False) as dataset:
        check_dataset("xarray", dataset, arrays, coordinates)
    with xarray.open_datatree(store, engine="zarr", consolidated=False) as tree:
        check_dataset("datatree", tree[group].to_dataset(inherit=False), arrays, coordinates)


def main(path, groups):
    warnings.simplefilter("error")
    # A compiled part of netCDF4 was built for another version of NumPy.
    warnings.filterwarnings("ignore", message="numpy.ndarray size changed")
    check = check_hdf5 if path.endswith(".h5") else check_zarr
    for group, expected in json.loads(groups).items():
        check(path, group, expected["arrays"], expected.get("coordinates", []))


main(*sys.argv[1:])
