"""Runs the Python programs of the documents, in the folder with `run.zarr` and `run.mdb`.

Arguments: the folder, which `python_reads.rs` makes; the folder of the repository.
"""

import json
import os
import re
import struct
import sys
from pathlib import Path

import google_crc32c
import numpy


OF_THE_PACKAGE = re.compile(r"^from simrecorder |\bsimrecorder\.[a-z]|engine=\"simrecorder\"", re.MULTILINE)


def run(document, **names):
    """The names that the programs of a document define, run one after another."""
    programs = re.findall(r"^```python\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)
    # The tests of the Python package run those that use it.
    programs = [program for program in programs if not OF_THE_PACKAGE.search(program)]
    assert programs, document
    for program in programs:
        exec(compile(program, document, "exec"), names)
    return names


def main(folder, repository):
    os.chdir(folder)
    repository = Path(repository)
    run(repository / "README.md")
    assert run(repository / "docs/python.md")["dataset"]["v"].shape == (10, 3)

    names = run(repository / "docs/format.md", i=7)
    assert names["net"]["rate"].shape == (100,)
    steps = numpy.arange(10)
    assert (names["window"] == steps).all()
    assert (names["v"][:] == names["dataset"]["v"].values).all()
    assert names["dataset"]["v"].dims == ("time", "neuron")
    assert [row.tolist() for row in names["rows"]] == [[i] * (i % 4) for i in steps]
    assert names["row"].tolist() == [7, 7, 7]
    assert names["objects"] == [{"step": i} for i in steps]
    assert names["parameters"] == {"tau": 20.0}
    assert names["metadata"]["shape"] == [10, 3] and len(names["chunk"]) > 0
    frame = names["frame"]
    assert len(frame) > 2000 and os.path.getsize("run.mdb/chunks.0") >= 24 + len(frame)
    assert google_crc32c.value(frame[:-4]) == int.from_bytes(frame[-4:], "little")

    # The reader of journals, on a recording that was flushed only.
    entries, tails = names["read"]("flushed.zarr")
    assert "net/v/zarr.json" in entries and json.loads(entries["net/v/zarr.json"])["shape"] == [8, 3]
    [(first, rows, payload)] = names["frames"](tails["net/v"])
    assert (first, rows) == (8, 2)
    assert (numpy.frombuffer(payload, "f4") == numpy.repeat([8, 9], 3)).all()

    # A shard whose index is in the journal: the chunks with 4 of the first 8 rows.
    shard = entries["net/v/c.0.0"]
    slots = json.loads(entries["net/v/zarr.json"])["chunk_grid"]["configuration"]["chunk_shape"][0] // 4
    assert names["crc32c"](shard[: 16 * slots]) == shard[16 * slots : 16 * slots + 4]
    places = list(struct.iter_unpack("<QQ", shard[: 16 * slots]))
    assert set(places[2:]) == {(names["MISSING"], names["MISSING"])}
    for offset, length in places[:2]:
        chunk = shard[offset : offset + length]
        assert names["crc32c"](chunk[:-4]) == chunk[-4:]


main(*sys.argv[1:])
