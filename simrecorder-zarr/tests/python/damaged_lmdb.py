"""Reads damaged copies of a recording in LMDB: an error that says so, or entries.

Argument: the path of the recording, which is damaged.
"""

import random
import sys
from pathlib import Path

from simrecorder_lmdb import DamagedError, LmdbStore
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync


async def read_everything(store):
    keys = [key async for key in store.list()]
    names = [name async for name in store.list_dir("")]
    for key in keys:
        await store.get(key, default_buffer_prototype())
    return len(keys), len(names)


def outcome(store):
    try:
        return sync(read_everything(store))
    except DamagedError as error:
        assert "damaged" in str(error), error
        assert "data.mdb" in str(error) or "chunks." in str(error), error
    except UnicodeDecodeError:
        pass  # a key that was changed


def check_chunk_file(chunks, store, whole):
    """Codecs notice other bytes, but not a truncated or replaced file."""
    sound = chunks.read_bytes()
    for bad in [b"", sound[:10], sound[:-1], bytes(len(sound)), b"x" + sound[1:]]:
        chunks.write_bytes(bad)
        assert outcome(store) is None, len(bad)
    chunks.unlink()
    assert outcome(store) is None
    chunks.write_bytes(sound)
    assert outcome(store) == whole


def main(path):
    data = Path(path, "data.mdb")
    store = LmdbStore(path)
    sound = data.read_bytes()
    whole = outcome(store)
    assert whole[0] > 50
    data.write_bytes(b"")
    assert outcome(store) == (0, 0)
    data.write_bytes(bytes(len(sound)))
    assert outcome(store) == (0, 0)
    random.seed(1)
    data.write_bytes(random.randbytes(len(sound)))
    assert outcome(store) is None
    different = 0
    for _ in range(300):
        bad = bytearray(sound)
        for _ in range(random.choice([1, 10, 100])):
            # Usually where pages describe their contents.
            page = random.randrange(len(bad) // 4096) * 4096
            bad[page + random.choice([random.randrange(4096), random.randrange(40)])] ^= (
                1 << random.randrange(8)
            )
        data.write_bytes(bad[: random.choice([len(bad), random.randrange(len(bad))])])
        different += outcome(store) != whole
    assert different > 100
    data.write_bytes(sound)
    assert outcome(store) == whole
    check_chunk_file(Path(path, "chunks.0"), store, whole)
    data.unlink()
    try:
        LmdbStore(path)
    except FileNotFoundError as error:
        assert "data.mdb" in str(error), error
    else:
        sys.exit("a recording that is not there was opened")


main(*sys.argv[1:])
