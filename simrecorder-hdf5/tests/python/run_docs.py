"""Runs the Python programs of docs/format-hdf5.md, in the folder with `run.h5`.

Arguments: the folder, which `python_reads.rs` makes; the folder of the repository.
"""

import os
import re
import sys
from pathlib import Path

import numpy


def main(folder, repository):
    os.chdir(folder)
    document = Path(repository) / "docs/format-hdf5.md"
    programs = re.findall(r"^```python\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)
    assert len(programs) == 3
    names = {}
    for program in programs:
        exec(compile(program, document, "exec"), names)

    steps = numpy.arange(10)
    assert names["window"].tolist() == [[10 * step + 3] * 2 for step in steps]
    assert names["units"] == "mV"
    assert names["log"].tolist() == [f"step {step}" for step in steps]
    assert [row.tolist() for row in names["rows"]] == [[step] * (step % 4) for step in steps]
    assert names["events"] == [{"step": step} for step in steps]
    assert names["parameters"] == {"tau": 20.0}
    assert names["v"].dims == ("time", "neuron", "part") and names["v"].shape == (10, 5, 2)


main(*sys.argv[1:])
