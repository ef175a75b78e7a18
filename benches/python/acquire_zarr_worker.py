"""acquire-zarr: a stream of frames into Zarr V3. Vectors and scalars are frames of one row."""

import os
from functools import partial

import acquire_zarr as aqz
import numpy as np
import worker
import zarr

CODECS = {"lz4": aqz.CompressionCodec.BLOSC_LZ4, "zstd": aqz.CompressionCodec.BLOSC_ZSTD}
SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}


class Recording:
    def __init__(self, request, shape, dtype, rows):
        self.path = request["path"]
        self.frame = (1,) * (2 - len(shape)) + shape
        codec = request["codec"]
        time = aqz.Dimension(
            name="t",
            kind=aqz.DimensionType.TIME,
            array_size_px=0,
            chunk_size_px=rows,
            shard_size_chunks=1,
        )
        space = [
            aqz.Dimension(
                name=name,
                kind=aqz.DimensionType.SPACE,
                array_size_px=size,
                chunk_size_px=size,
                shard_size_chunks=1,
            )
            for name, size in zip("yx", self.frame)
        ]
        arrays = [
            aqz.ArraySettings(
                output_key=key,
                dimensions=[time, *space],
                data_type=dtype,
                compression=aqz.CompressionSettings(
                    compressor=aqz.Compressor.BLOSC1,
                    codec=CODECS[codec["name"]],
                    level=codec["level"],
                    shuffle=SHUFFLES[codec["shuffle"]],
                ),
            )
            for key in request["keys"]
        ]
        self.keys = request["keys"]
        self.stream = aqz.ZarrStream(aqz.StreamSettings(store_path=self.path, arrays=arrays))

    def append(self, key, block):
        self.stream.append(block.reshape(len(block), *self.frame), key=self.keys[key])

    def close(self):
        self.stream.close()

    def read(self, key):
        return np.asarray(zarr.open_array(os.path.join(self.path, key), mode="r")[:])


aqz.set_log_level(aqz.LogLevel.ERROR)
worker.serve({"record": partial(worker.record, Recording)})
