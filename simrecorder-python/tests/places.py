"""Fixtures for the tests of the package and of the page: a folder for each test, and a place for a recording in
each format."""

import itertools
import signal

import pytest

import simrecorder

_numbers = itertools.count()

# A shell makes background programs, and those that they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    with simrecorder.RedisServer(tmp_path_factory.mktemp("redis"), "random") as server:
        yield server


@pytest.fixture(params=["run.mdb", "run.zarr", "run.h5", "redis"])
def place(request):
    """The path or URL of a recording that does not exist yet."""
    if request.param != "redis":
        return request.param
    server = request.getfixturevalue("redis_server")
    return f"redis://localhost:{server.port}?run=run-{next(_numbers)}"
