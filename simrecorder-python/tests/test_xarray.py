"""The engine of xarray."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

import simrecorder
from simrecorder import Ragged

xarray = pytest.importorskip("xarray")


def write(recorder, ticks=100):
    recorder.declare("net/v", "float32", [3], dims=["time", "x"], units="mV", chunks=16)
    recorder.set("net/x", np.array([0.0, 0.5, 1.0]), dims=["x"], units="m")
    recorder.set("net/name", "excitatory")
    recorder.set("net/options", {"a": [1]})
    recorder.set_attributes("", {"title": "run"})
    with recorder.timeline("net", "time", units="s") as net:
        for step in range(ticks):
            net.tick(step * 0.5, v=np.arange(3, dtype=np.float32) + step, spikes=Ragged(np.arange(step % 4)))
    for step in range(10):
        recorder.record("net/inner/loss", 0.5 * step)
        recorder.record("log", f"step {step}")


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "being-written"])
def test_a_group_is_a_dataset(place, closed):
    recorder = simrecorder.create(place)
    write(recorder)
    recorder.close() if closed else recorder.flush()
    with xarray.open_dataset(place, engine="simrecorder", group="net", decode_timedelta=False) as dataset:
        assert dataset.v.dims == ("time", "x") and dataset.v.dtype == np.float32
        assert dataset.v.attrs == {"units": "mV"} and dataset.x.attrs == {"units": "m"}
        assert dataset.sizes["time"] == 100
        window = dataset.v.sel(time=slice(10.0, 12.0), x=0.5)
        assert window.values.tolist() == [21.0, 22.0, 23.0, 24.0, 25.0]
        assert dataset.spikes.values[7].tolist() == [0, 1, 2]
        assert dataset.name.item() == "excitatory" and dataset.options.item() == {"a": [1]}
        assert dataset.v.isel(time=[0, 5, -1], x=slice(None, None, -1)).values[1].tolist() == [7.0, 6.0, 5.0]
        assert dataset.v.isel(time=xarray.DataArray([0, 1], dims="p"), x=xarray.DataArray([1, 2], dims="p")).values.tolist() == [1.0, 3.0]
    if not closed:
        recorder.close()


def test_a_recording_is_a_tree(place):
    with simrecorder.create(place) as recorder:
        write(recorder)
    with xarray.open_datatree(place, engine="simrecorder", decode_timedelta=False) as tree:
        assert tree.attrs["title"] == "run"
        assert set(tree.groups) == {"/", "/net", "/net/inner"}
        assert tree["/net/v"].shape == (100, 3) and tree["/log"].values[3] == "step 3"
        assert tree["/net/inner"].ds.loss.shape == (10,)
    with xarray.open_datatree(place, engine="simrecorder", group="net", decode_timedelta=False) as tree:
        assert tree["inner/loss"].values[1] == 0.5


def test_reading_is_lazy_and_dask_has_the_chunks(monkeypatch):
    with simrecorder.create("run.mdb") as recorder:
        write(recorder)
    from simrecorder._xarray import LazyArray

    read = []
    original = LazyArray._read
    monkeypatch.setattr(LazyArray, "_read", lambda self, key: read.append(self.view.key) or original(self, key))
    with xarray.open_dataset("run.mdb", engine="simrecorder", group="net", chunks={}, decode_timedelta=False) as dataset:
        assert "net/v" not in read
        assert dataset.v.chunks[0][0] == 16
        assert dataset.v.sum().compute() == np.sum(simrecorder.open("run.mdb")["net/v"])
        assert read.count("net/v") == 7


def test_what_simrecorder_wrote_is_recognised_by_its_contents(redis_server):
    for name in ("a.mdb", "b.zarr"):
        with simrecorder.create(name) as recorder:
            recorder.record("x", 0.5)
        with xarray.open_dataset(name) as dataset:
            assert dataset.x.values.tolist() == [0.5]
    url = f"redis://localhost:{redis_server.port}?run=guessed"
    with simrecorder.create(url) as recorder:
        recorder.record("x", 0.5)
    with xarray.open_dataset(url, engine="simrecorder") as dataset:
        assert dataset.x.values.tolist() == [0.5]
    from simrecorder._xarray import SimrecorderBackend

    backend = SimrecorderBackend()
    for other in ("nothing.mdb", "nothing", 7, b"bytes", "https://example.org/a.zarr"):
        assert not backend.guess_can_open(other)


def test_a_missing_recording_or_group_is_an_error_of_the_file_system():
    with pytest.raises(FileNotFoundError):
        xarray.open_dataset("nothing.mdb", engine="simrecorder")
    with simrecorder.create("run.mdb") as recorder:
        recorder.record("x", 0.5)
    with pytest.raises(OSError, match="nothing"):
        xarray.open_dataset("run.mdb", engine="simrecorder", group="nothing")
    with pytest.raises(TypeError, match="series"):
        xarray.open_dataset("run.mdb", engine="simrecorder", group="x")


def test_series_of_different_length_do_not_share_a_dimension():
    with simrecorder.create("run.mdb") as recorder:
        for key, count in {"a": 3, "b": 5}.items():
            recorder.declare(key, float, dims=["time"])
            for step in range(count):
                recorder.record(key, float(step))
        recorder.flush()
        dataset = xarray.open_dataset(recorder, engine="simrecorder")
        assert dataset.a.shape == (3,) and dataset.b.shape == (5,) and dataset.a.dims != dataset.b.dims


def test_series_of_groups_above_do_not_share_a_dimension_of_another_length():
    with simrecorder.create("run.mdb") as recorder:
        recorder.declare("v", float, [2], dims=["time", None])
        recorder.record("v", np.zeros(2))
        with recorder.timeline("net", "time") as net:
            for step in range(3):
                net.tick(float(step), v=np.zeros(5))
    with xarray.open_datatree("run.mdb", engine="simrecorder") as tree:
        assert tree["/net/v"].shape == (3, 5) and tree["/net"].ds.v.dims[0] == "time"
        assert tree["/v"].shape == (1, 2)
    with xarray.open_dataset("run.mdb", engine="simrecorder") as dataset:
        assert dataset.v.dims == ("time", "v_dim_1")


WRITER = """
import sys
import numpy as np
import simrecorder

recorder = simrecorder.create(sys.argv[1], chunk_bytes=1024)
net = recorder.timeline("net", "time")
fine = recorder.timeline("net/fine", "step", dtype=int)
print("begun", flush=True)
for step in range(1_000_000):
    net.tick(step, v=np.full(3, float(step)), rate=float(step))
    fine.tick(step, a=step, b=step)
    if step % 50 == 0:
        recorder.flush()
"""


def test_a_recording_is_consistent_while_it_is_written_and_after_a_kill(place):
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), place], stdout=subprocess.PIPE, text=True
    )
    lengths = []
    try:
        assert writer.stdout.readline() == "begun\n"
        for _ in range(12):
            lengths.append(check(place))
    finally:
        writer.kill()
        writer.wait()
    lengths.append(check(place))
    assert lengths == sorted(lengths) and lengths[-1] > lengths[0]


def check(place):
    with xarray.open_datatree(place, engine="simrecorder") as tree:
        if "/net" not in tree.groups or "rate" not in tree["/net"].ds:
            return 0
        net = tree["/net"].ds
        count = net.sizes["time"]
        assert np.array_equal(net.time, np.arange(count)) and np.array_equal(net.rate, net.time)
        assert np.array_equal(net.v[:, 2], net.time)
        if "/net/fine" in tree.groups and "a" in tree["/net/fine"].ds:
            fine = tree["/net/fine"].ds
            assert np.array_equal(fine.a, fine.step) and np.array_equal(fine.b, fine.step)
        return count


def test_a_dataset_is_pickled_and_read_by_other_processes():
    import multiprocessing

    with simrecorder.create("run.mdb") as recorder:
        write(recorder)
    dataset = xarray.open_dataset("run.mdb", engine="simrecorder", group="net", decode_timedelta=False)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(mean_of, (dataset.v,)) == float(dataset.v.mean())


def mean_of(array):
    return float(array.mean())


def test_hdf5_files_and_zarr_directories_of_xarray_are_opened():
    dataset = xarray.Dataset({"u": (("t", "x"), np.arange(6.0).reshape(2, 3))}, coords={"t": [0.5, 1.5]})
    dataset.to_netcdf("other.h5", engine="h5netcdf")
    dataset.to_zarr("other.zarr", consolidated=False)
    for path in ("other.h5", "other.zarr"):
        with xarray.open_dataset(path, engine="simrecorder") as read:
            assert np.array_equal(read.u, dataset.u) and read.t.values.tolist() == [0.5, 1.5]
