"""Files that the original SimRecorder wrote are opened: Zarr V2, and HDF5 with lzf."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import simrecorder
from simrecorder import HDF5DataStore, Recorder, ZarrDataStore

# Whether the package contains libhdf5; ci/python-package builds it with the system's.
HAS_NEWEST_HDF5 = os.environ.get("SIMRECORDER_WHEEL") == "release"

# The folder with zarr-python 2, created by ci/python.
ZARR_2 = Path(__file__).parents[2] / "target" / "python-zarr2"

# Writes like the original: chunks of one record, blosc, and objects as pickles in numbered arrays.
WRITER = """
import sys
import numcodecs
import numpy as np
import zarr

kind, path = sys.argv[1:]
store = zarr.LMDBStore(path) if kind == "lmdb" else zarr.DirectoryStore(path)
root = zarr.group(store)
compressor = numcodecs.Blosc(cname="blosclz", clevel=9, shuffle=numcodecs.Blosc.BITSHUFFLE)
weights = root.require_dataset("train/weights", shape=(0, 3, 4), chunks=(1, 3, 4), dtype="f4", compressor=compressor)
for step in range(20):
    weights.append(np.full((1, 3, 4), step, dtype="f4"))
objects = root.require_group("train/objects")
for index in range(2):
    array = objects.create_dataset(str(index), shape=(1,), dtype=object, object_codec=numcodecs.Pickle())
    array[0] = [np.zeros((3, 1)), np.zeros((4, 1))]
store.close() if kind == "lmdb" else None
"""


@pytest.fixture(params=["lmdb", "directory"])
def zarr_v2(request):
    assert ZARR_2.is_dir(), "ci/python makes target/python-zarr2"
    environment = {**os.environ, "PYTHONPATH": str(ZARR_2)}
    subprocess.run([sys.executable, "-W", "ignore", "-c", WRITER, request.param, "output"], env=environment, check=True)
    return "output"


def test_zarr_v2_is_read(zarr_v2):
    recorder = Recorder(ZarrDataStore(zarr_v2))
    weights = recorder.get_all("train/weights")
    assert weights.shape == (20, 3, 4) and weights.dtype == np.float32
    assert np.array_equal(weights[:, 0, 0], np.arange(20.0))
    assert np.array(ZarrDataStore(zarr_v2).get_all("train/weights")).shape == (20, 3, 4)
    with pytest.raises(PermissionError):
        recorder.record("train/weights", np.zeros((3, 4), dtype=np.float32))


def test_pickled_objects_are_an_error_that_says_how_to_convert_them(zarr_v2):
    recorder = simrecorder.open(zarr_v2)
    for read in (recorder.get_all, recorder.__getitem__, ZarrDataStore(zarr_v2).get_all):
        with pytest.raises(simrecorder.UnsupportedError, match="pickled.*load it with the software that wrote it"):
            read("train/objects")
    # The other keys are read and copied.
    simrecorder.copy(zarr_v2, "new.mdb", exclude=["train/objects/**"])
    assert simrecorder.open("new.mdb")["train/weights"].shape == (20, 3, 4)


@pytest.mark.parametrize("libver", ["v110", "latest"])
def test_hdf5_files_with_lzf_are_read(libver):
    with h5py.File("output.h5", "w", libver=libver) as file:
        shape = dict(shape=(0, 3, 4), maxshape=(None, 3, 4), chunks=(1, 3, 4))
        weights = file.create_dataset("train/weights", dtype="f4", compression="lzf", **shape)
        for step in range(20):
            weights.resize(step + 1, axis=0)
            weights[step] = step
        file["train/seed"] = 7
    recorder = Recorder(HDF5DataStore("output.h5"))
    if libver == "latest" and not HAS_NEWEST_HDF5:
        with pytest.raises(simrecorder.UnsupportedError, match="hdf5-static"):
            recorder.get_all("train/weights")
        return
    assert np.array_equal(recorder.get_all("train/weights")[:, 0, 0], np.arange(20.0))
    assert recorder.get_all("train/weights").shape == (20, 3, 4)
