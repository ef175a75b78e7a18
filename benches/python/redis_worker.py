"""redis-py and pyarrow: records as Arrow IPC messages, and reading recordings of simrecorder."""

import hashlib
import json
from functools import partial

import numpy as np
import pyarrow
import redis
import worker

WINDOW = 16
# The number of bytes that are sent at a time.
PIPELINE_BYTES = 1 << 20


class Recording:
    def __init__(self, request, shape, dtype, rows):
        self.client = redis.Redis.from_url(request["url"])
        self.keys = request["keys"]
        self.shape, self.dtype = shape, dtype
        self.size = int(np.prod(shape))
        column = pyarrow.list_(pyarrow.from_numpy_dtype(dtype), self.size)
        self.schema = pyarrow.schema([("values", column)])
        self.by_hand = request["by_hand"]
        self.pipeline = self.client.pipeline(transaction=False)
        self.waiting = 0

    def append(self, key, block):
        flat = pyarrow.array(block.reshape(-1))
        column = pyarrow.FixedSizeListArray.from_arrays(flat, self.size)
        message = memoryview(pyarrow.record_batch([column], schema=self.schema).serialize())
        if not self.by_hand:
            self.client.rpush(self.keys[key], message)
            return
        self.pipeline.rpush(self.keys[key], message)
        self.waiting += message.nbytes
        if self.waiting >= PIPELINE_BYTES:
            self.close()

    def close(self):
        self.pipeline.execute()
        self.waiting = 0

    def read(self, key):
        parts = [
            pyarrow.ipc.read_record_batch(pyarrow.py_buffer(message), self.schema)
            for message in self.client.lrange(key, 0, -1)
        ]
        return np.concatenate([part.column(0).flatten().to_numpy() for part in parts])


def series(url, key):
    client = redis.Redis.from_url(url)
    generation = client.hget("simrecorder:{default}:root", "generation").decode()
    node = json.loads(client.hget(f"simrecorder:{{default}}:{generation}:nodes", key))
    schema = pyarrow.ipc.read_schema(pyarrow.py_buffer(bytes.fromhex(node["arrow_schema"])))
    series = hashlib.sha1(key.encode()).hexdigest()[:16]
    prefix = f"simrecorder:{{default:{generation}:{series}}}:"
    entries = client.xrange(prefix + "index")
    parts = []
    for start in range(0, len(entries), WINDOW):
        pipeline = client.pipeline(transaction=False)
        for _, entry in entries[start : start + WINDOW]:
            pipeline.get(prefix + entry[b"f"].decode())
        for frame in pipeline.execute():
            column = pyarrow.ipc.read_record_batch(pyarrow.py_buffer(frame), schema).column(0)
            parts.append(column.to_numpy_ndarray())
    return np.concatenate(parts)


def read_all(request):
    return worker.read_all(lambda: series(request["url"], request["key"]))


worker.serve({"record": partial(worker.record, Recording), "read_all": read_all})
