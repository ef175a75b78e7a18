"""Scripts that were written for the original SimRecorder run with their import line."""

import numpy as np
import pytest

import simrecorder
from simrecorder import (
    CompressionType,
    DatastoreType,
    HDF5DataStore,
    InMemoryDataStore,
    Recorder,
    RedisDataStore,
    RedisServer,
    Serialization,
    ZarrDataStore,
)

KINDS = ["memory", "zarr", "zarr-directory", "zarr-lzma", "hdf5", "hdf5-gzip", "redis"]


@pytest.fixture(params=KINDS)
def new_store(request, tmp_path):
    """Creates a data store of a kind, each time with the same data."""
    if request.param == "redis":
        folder = tmp_path / "server"
        folder.mkdir()
        with RedisServer(folder, "random", use_compression=False) as server:
            yield lambda: RedisDataStore("localhost", redis_port=server.port)
        return
    if request.param == "memory":
        store = InMemoryDataStore()
        yield lambda: store
        return
    path = str(tmp_path / "output")
    arguments = {
        "zarr": lambda: ZarrDataStore(path),
        "zarr-directory": lambda: ZarrDataStore(path, 1e5, DatastoreType.DIRECTORY),
        "zarr-lzma": lambda: ZarrDataStore(path, compression_type=CompressionType.LZMA),
        "hdf5": lambda: HDF5DataStore(path),
        "hdf5-gzip": lambda: HDF5DataStore(path, 1024**2, 0, compression="gzip"),
    }
    yield arguments[request.param]


RECORDS = [
    np.random.default_rng(1).random((3, 4)),
    np.float32(0.5),
    7,
    0.25,
    np.array(1.5),
    [np.random.default_rng(2).random((3, 1)), np.ones((4, 1)), np.array([])],
    {"a": [1, None, True, "text", b"bytes"], "b": {"c": np.arange(3)}},
    "text",
]


def test_records_and_values_come_back_in_every_store(new_store):
    recorder = Recorder(new_store())
    for index, value in enumerate(RECORDS):
        recorder.set(f"value/{index}", 0)
        recorder.set(f"value/{index}", value)
        for _ in range(3):
            recorder.record(f"series/{index}", value)
    # Before it is closed, and after, in another recorder.
    check(recorder)
    recorder.close()
    check(Recorder(new_store()))
    # Without a recorder.
    check(new_store())


def check(reader):
    for index, value in enumerate(RECORDS):
        assert_same(reader.get(f"value/{index}"), value)
        series = reader.get_all(f"series/{index}")
        assert len(series) == 3
        for record in series:
            assert_same(record, value)
    assert reader.get("nothing") is None
    nothing = reader.get_all("nothing")
    assert nothing is None or nothing == []


def assert_same(read, value):
    if isinstance(value, list):
        assert all(np.array_equal(one, other) for one, other in zip(read, value, strict=True))
    elif isinstance(value, dict):
        assert read["a"] == value["a"] and np.array_equal(read["b"]["c"], value["b"]["c"])
    else:
        assert np.array_equal(np.array(read), np.array(value))


def test_stores_are_used_without_a_recorder(new_store):
    store = new_store()
    store.connect()
    for step in range(5):
        store.append("train/x", np.full(3, step))
    store.set("name", "run 7")
    assert np.array(store.get_all("train/x")).shape == (5, 3)
    store.close()
    store = new_store()
    assert np.array(store.get_all("train/x"))[4, 0] == 4
    assert store.get("name") == "run 7"
    store.close()


def test_a_store_of_a_recorder_reads_what_was_just_recorded():
    memory, zarr = InMemoryDataStore(), ZarrDataStore("run")
    recorder = Recorder(memory, zarr)
    recorder.record("x", 0.5)
    assert np.array(memory.get_all("x")).tolist() == [0.5]
    assert np.array(zarr.get_all("x")).tolist() == [0.5]
    zarr.append("only", 1.5)
    assert memory.get_all("only") == [] and len(zarr.get_all("only")) == 1


def test_the_argument_datastore_reads_from_and_writes_to_one_store():
    memory, zarr = InMemoryDataStore(), ZarrDataStore("run")
    recorder = Recorder(memory, zarr)
    recorder.record("both", 0.5)
    recorder.record("memory", 1.5, datastore=memory)
    recorder.record("zarr", 2.5, datastore=zarr)
    recorder.set("value", 3, datastore=zarr)
    assert np.array(recorder.get_all("both", datastore=zarr)).tolist() == [0.5]
    assert recorder.get_all("memory", datastore=zarr) is None
    assert recorder.get_all("zarr", datastore=memory) == []
    assert np.array(recorder.get_all("zarr", datastore=zarr)).tolist() == [2.5]
    assert recorder.get("value", datastore=zarr) == 3 and recorder.get("value", datastore=memory) is None
    with pytest.raises(ValueError, match="does not belong to the recorder"):
        recorder.record("x", 1, datastore=InMemoryDataStore())
    recorder.close()
    reader = Recorder(ZarrDataStore("run"))
    assert np.array(reader.get_all("zarr")).tolist() == [2.5] and reader.get("value") == 3


def test_the_same_store_in_memory_keeps_its_data_in_a_second_recorder():
    store = InMemoryDataStore()
    recorder = Recorder(store)
    recorder.record("x", 0.5)
    recorder.close()
    recorder = Recorder(store)
    recorder.record("x", 1.5)
    assert np.array(recorder.get_all("x")).tolist() == [0.5, 1.5]
    assert store.get_all("nothing") == []


def test_an_existing_hdf5_file_is_opened_for_reading_and_zarr_is_continued():
    for store in (lambda: HDF5DataStore("run.h5"), lambda: ZarrDataStore("run.mdb")):
        recorder = Recorder(store())
        recorder.record("x", 0.5)
        recorder.close()
    with pytest.raises(PermissionError):
        Recorder(HDF5DataStore("run.h5")).record("x", 1.5)
    recorder = Recorder(ZarrDataStore("run.mdb"))
    recorder.record("x", 1.5)
    assert len(recorder.get_all("x")) == 2


def test_several_recorders_one_after_another_without_close():
    for step in range(3):
        recorder = Recorder(ZarrDataStore(f"run-{step}"))
        recorder.record("x", step)
    for step in range(2):
        assert np.array(ZarrDataStore(f"run-{step}").get_all("x")).tolist() == [step]


def test_a_recording_that_is_being_written_is_read_by_the_same_classes():
    writer = Recorder(ZarrDataStore("run"))
    writer.record("x", 0.5)
    writer.flush()
    reader = Recorder(ZarrDataStore("run"))
    assert np.array(reader.get_all("x")).tolist() == [0.5]
    with pytest.raises(PermissionError):
        reader.record("x", 1.5)
    # The data store of the writer shares its store with a second recorder.
    store = ZarrDataStore("shared")
    first, second = Recorder(store), Recorder(store)
    first.record("a", 1)
    second.record("b", 2)
    assert sorted([*first.get_all("a"), *second.get_all("b")]) == [1, 2]


def test_the_server_has_its_data_again_when_it_is_started_again(tmp_path):
    (tmp_path / "config").write_text("# a comment\nmaxmemory 1gb\n\nsave \"\"\n")
    (tmp_path / "data").mkdir()
    server = RedisServer(
        data_directory=str(tmp_path / "data"),
        redis_port="random",
        config_file_path=tmp_path / "config",
        serialization=Serialization.PYARROW,
        use_multiprocess_deserialization=True,
    )
    for step in range(2):
        server.start()
        recorder = Recorder(RedisDataStore("localhost", server.port))
        recorder.record("x", step)
        assert len(recorder.get_all("x")) == step + 1
        recorder.close()
        server.stop()
    with pytest.raises(FileNotFoundError, match="folder does not exist"):
        RedisServer(tmp_path / "nothing").start()


def test_the_server_has_the_port_of_the_original_by_default(tmp_path):
    server = RedisServer(tmp_path)
    assert server.port == 65535
    server.start()
    recorder = Recorder(RedisDataStore(server_host="localhost"))
    recorder.record("x", 1)
    recorder.close()
    server.stop()


def test_arguments_of_the_original_are_accepted_or_refused_with_a_reason():
    store = HDF5DataStore("a.h5", chunk_cache_mem_size_bytes=20 * 2**30, desired_chunk_size_bytes=-1)
    store.enable_swmr()
    store.append("x", np.zeros(3))
    store.close()
    assert HDF5DataStore("b.h5", compression=None)
    with pytest.raises(ValueError, match="szip"):
        HDF5DataStore("c.h5", compression="szip")
    from simrecorder.hdf_datastore import HDF5DataStore as _
    from simrecorder.redis_datastore import RedisServer as _
    from simrecorder.zarr_datastore import DatastoreType as _

    assert simrecorder.ZarrDatastore is ZarrDataStore


def test_record_dict_records_each_entry():
    recorder = Recorder(InMemoryDataStore())
    simrecorder.record_dict(recorder, "train", {"a.loss": 0.5, "n": 3})
    assert sorted(recorder) == ["train/a.loss", "train/n"]
