"""Writes a file in the format H5MD 1.1. The argument is its path.

Elements have `value`, `step` and `time` in a group. `step` and `time` have an entry for each of ten frames, or
are scalars: the increment, with the attribute `offset`.
"""

import sys

import h5py
import numpy

FRAMES = 10


def element(parent, name, value, step, time=None, offset=None):
    group = parent.create_group(name)
    group["value"] = value
    group["step"] = step
    if time is not None:
        group["time"] = time
        group["time"].attrs["unit"] = "ps"
    if offset is not None:
        group["step"].attrs["offset"], group["time"].attrs["offset"] = offset
    return group


with h5py.File(sys.argv[1], "w") as file:
    file.create_group("h5md").attrs["version"] = [1, 1]
    value = numpy.arange(FRAMES * 12.0).reshape(FRAMES, 4, 3)
    step = numpy.arange(FRAMES) * 5 + 100
    time = step * 0.1
    particles = file.create_group("particles/all")
    element(particles, "position", value, step, time)
    element(particles, "velocity", value, 5, 0.5, offset=(100, 10.0))
    element(particles, "force", value, numpy.uint32(5))
    # A dimension scale also names the axis.
    energy = element(file.create_group("observables"), "energy", numpy.arange(FRAMES), step, time)
    energy["time"].make_scale("time")
    energy["value"].dims[0].attach_scale(energy["time"])
