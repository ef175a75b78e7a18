"""Shows or changes datasets as other software does.

Arguments, one of: `show PATH`, which prints the layout and the shape of each dataset as JSON; `values PATH
DATASET`, which prints the numbers of one; `scales PATH DATASET`, which prints the path of the scale of each
of its axes; `decorate PATH DATASET` and `decorated PATH DATASET`, which give it attributes of several types,
and check that it has them; `lens PATH LEN`, which checks that xarray finds so many records in the group `net`.
"""

import json
import sys

import h5py
import numpy
import xarray

LAYOUTS = {h5py.h5d.COMPACT: "compact", h5py.h5d.CONTIGUOUS: "contiguous", h5py.h5d.CHUNKED: "chunked"}


def show(path):
    shown = {}

    def visit(name, node):
        if isinstance(node, h5py.Dataset):
            shown[name] = [LAYOUTS[node.id.get_create_plist().get_layout()], list(node.shape)]

    with h5py.File(path) as file:
        file.visititems(visit)
    print(json.dumps(shown))


def values(path, dataset):
    with h5py.File(path) as file:
        print(json.dumps(file[dataset][:].ravel().tolist()))


def scales(path, dataset):
    with h5py.File(path) as file:
        dims = file[dataset].dims
        for axis, dim in enumerate(dims):
            for scale in dim.values():
                users = [(file[user].name, int(number)) for user, number in scale.attrs["REFERENCE_LIST"]]
                assert (file[dataset].name, axis) in users, users
        print(json.dumps([dim[0].name if len(dim) else None for dim in dims]))


def attributes(file):
    return {
        "texts": numpy.array(["a", "longer"], dtype=h5py.string_dtype()),
        "lists": numpy.array([numpy.arange(3), numpy.arange(1)], dtype=h5py.vlen_dtype("i8")),
        "pair": numpy.array((1, 2.5), dtype=[("a", "i4"), ("b", "f8")]),
        "größe": numpy.float32(2.5),
        "group": file["/"].ref,
    }


def decorate(path, dataset):
    with h5py.File(path, "r+") as file:
        for name, value in attributes(file).items():
            file[dataset].attrs[name] = value
        file[dataset].attrs["empty"] = h5py.Empty("f8")
        file[dataset].attrs.create(b"\xff\xfe", 7)


def decorated(path, dataset):
    with h5py.File(path) as file:
        found = file[dataset].attrs
        for name, value in attributes(file).items():
            if name == "lists":
                assert [list(row) for row in found[name]] == [list(row) for row in value]
            elif name == "group":
                assert file[found[name]].name == "/"
            else:
                assert numpy.all(found[name] == value) and found[name].dtype == value.dtype, name
        assert found["empty"] == h5py.Empty("f8")
        attribute = h5py.h5a.open(file[dataset].id, b"\xff\xfe")
        number = numpy.zeros((), dtype="i8")
        attribute.read(number)
        assert number == 7


def lens(path, length):
    for engine in ["h5netcdf", "netcdf4"]:
        with xarray.open_dataset(path, engine=engine, group="net") as dataset:
            assert dict(dataset.sizes) == {"time": int(length), "cell": 3}, dataset.sizes
            assert (dataset["v"].values[:, 1] == numpy.arange(int(length))).all()
            assert (dataset["time"].values == numpy.arange(int(length))).all()


COMMANDS = {
    "lens": lens,
    "show": show,
    "values": values,
    "scales": scales,
    "decorate": decorate,
    "decorated": decorated,
}
COMMANDS[sys.argv[1]](*sys.argv[2:])
