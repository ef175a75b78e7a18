"""Reads a series of a recording on a Redis server with redis-py and pyarrow.

Each line of the input is a request, each line of the output an answer, both JSON.
"""

import hashlib
import json
import sys
import time

import numpy
import pyarrow
import redis

WINDOW = 16


def read_all(url, key):
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
    return numpy.concatenate(parts)


for line in sys.stdin:
    request = json.loads(line)
    start = time.perf_counter()
    values = read_all(request["url"], request["key"])
    seconds = time.perf_counter() - start
    total = values.view("u8").sum(dtype="u8")
    print(json.dumps({"seconds": seconds, "checksum": int(total)}), flush=True)
