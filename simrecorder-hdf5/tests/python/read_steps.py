"""Reads with h5py what a writer of the steps in `steps.rs` left behind.

Arguments: `files`, and a file with one line of JSON for each recording: its path, how many steps it
must have at least, whether it was closed, and perhaps how many records `n` has. Or `follow`, and the path of a recording that is being
written: it prints `enough` when it has read it often and far, and ends with standard input, after
it has read it once more.
"""

import json
import select
import sys
import time

import h5py
import numpy


def check(file, steps, is_closed):
    """Checks that each series is a correct prefix of at least `steps` steps. Returns the lengths."""
    lengths = []

    def length(key, count):
        lengths.append(count)
        assert count >= steps, (file.filename, key, count, steps)

    if "n" in file:
        n = file["n"][...]
        assert (n == numpy.arange(len(n))).all(), (file.filename, n)
        length("n", len(n))
    if "spikes" in file:
        ends, values = file["spikes/ends"][...], file["spikes/values"][...]
        counts = numpy.arange(len(ends)) % 4
        assert (ends == counts.cumsum()).all(), (file.filename, ends)
        expected = numpy.repeat(numpy.arange(len(ends)), counts)
        assert len(values) == len(expected) or not is_closed, (file.filename, values)
        # Items and their ends are two datasets; in an open run, either may be ahead.
        shorter = min(len(values), len(expected))
        assert (values[:shorter] == expected[:shorter]).all(), (file.filename, values)
        length("spikes", len(ends))
    if "log" in file:
        log = file["log"].asstr()[...]
        assert list(log) == [f"step {i}" for i in range(len(log))], (file.filename, log)
        length("log", len(log))
    if "frames" in file:
        frames = file["frames"][...]
        assert (frames == numpy.arange(len(frames))[:, None]).all(), (file.filename, frames)
        length("frames", len(frames))
    late = 0
    for name, dataset in file.get("late", {}).items():
        rows = dataset[...]
        expected = int(name) * 40 + numpy.arange(len(rows))
        assert (rows == expected[:, None]).all(), (file.filename, name, rows)
        late += len(rows)
    length("late", late)
    assert steps == 0 or len(lengths) >= 4, (file.filename, list(file))
    if is_closed:
        assert len(set(lengths)) <= 1 or steps == 0, (file.filename, lengths)
    return lengths


def check_files(manifest):
    count = 0
    with open(manifest) as lines:
        for line in lines:
            recording = json.loads(line)
            with h5py.File(recording["path"]) as file:
                lengths = check(file, recording["steps"], recording["closed"])
                assert lengths[0] == recording.get("n", lengths[0]), lengths
            count += 1
    assert count > 0


def follow(path):
    """Opens the file again and again. Only a checkpoint prevents this, for a moment."""
    print("ready", flush=True)
    opened, before, is_enough, is_over = 0, 0, False, False
    while not is_over:
        is_over = bool(select.select([sys.stdin], [], [], 0.01)[0])
        try:
            file = h5py.File(path)
        except BlockingIOError:
            assert not is_over
            time.sleep(0.01)
            continue
        with file:
            lengths = check(file, 0, False)
        assert lengths[0] >= before, (lengths, before)
        before = lengths[0]
        opened += 1
        if not is_enough and opened > 50 and before > 130:
            is_enough = True
            print("enough", flush=True)
    assert is_enough


match sys.argv[1:]:
    case ["files", manifest]:
        check_files(manifest)
    case ["follow", path]:
        follow(path)
    case _:
        sys.exit(__doc__)
