"""Scripts that replace commands of simrec: `shell.py WORK FILE [OUTPUT]`."""

import sys


def list_with_h5py(path):
    import h5py

    def show(name, node):
        if isinstance(node, h5py.Dataset):
            print(name, node.dtype, node.shape)

    with h5py.File(path) as file:
        file.visititems(show)


def list_with_zarr(path):
    import zarr

    for name, node in zarr.open_group(path, mode="r").members(max_depth=None):
        if isinstance(node, zarr.Array):
            print(name, node.dtype, node.shape)


def describe_with_h5py(path, key):
    import h5py

    with h5py.File(path) as file:
        data = file[key]
        print(data.name, data.dtype, data.shape, data.chunks, data.compression, dict(data.attrs))


def print_with_h5py(path):
    import h5py
    import numpy as np

    with h5py.File(path) as file:
        np.savetxt(sys.stdout, file["v"][:], fmt="%.17g")


def export_with_xarray(path, output):
    import xarray

    with xarray.open_dataset(path, engine="h5netcdf", group="net", phony_dims="sort") as data:
        data.to_dataframe().to_csv(output)


def convert_with_zarr(path, output):
    import h5py
    import zarr

    to = zarr.create_group(output)

    def copy(name, node):
        if isinstance(node, h5py.Dataset):
            to.create_array(name, data=node[:], chunks=node.chunks or "auto")

    with h5py.File(path) as file:
        file.visititems(copy)


def convert_with_xarray(path, output):
    import xarray

    xarray.open_datatree(path, engine="h5netcdf", phony_dims="sort").to_zarr(output, consolidated=False)


globals()[sys.argv[1]](*sys.argv[2:])
