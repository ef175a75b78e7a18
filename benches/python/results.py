"""Fills in the tables of a page of results from the `compare.jsonl` in its folder.

    python3 benches/python/results.py benches/results/NAME.md

reads benches/results/NAME/compare.jsonl. Ratios are medians of the ratios within each round.
"""

import json
import sys
from pathlib import Path
from statistics import median

LMDB, DIRECTORY = "simrecorder, Zarr/LMDB", "simrecorder, Zarr directory"
HDF5, REDIS = "simrecorder, HDF5", "simrecorder, Redis"
PYTHON, SIMREC = "simrecorder from Python", "simrec "
LOOP, FILE = "bare loop", "one raw file"
# Floors, not peers: they store nothing that can be read back, or nothing by key.
FLOORS = (LOOP, FILE, "memcpy", "dictionary of lists", "redis-benchmark")

page = Path(sys.argv[1])
lines = [json.loads(line) for line in (page.with_suffix("") / "compare.jsonl").read_text().splitlines()]
works = {}
for line in lines:
    if line["kind"] == "standing":
        works.setdefault(line["work"], []).append(line)


def of_kind(kind):
    return [line for line in lines if line["kind"] == kind]


def is_ours(candidate):
    return candidate["name"].startswith(("simrecorder", SIMREC))


def peers(work, part=""):
    """The candidates that are neither simrecorder nor a floor."""
    others = [it for it in works.get(work, []) if not is_ours(it) and not it["name"].startswith(FLOORS)]
    return [it for it in others if part in it["name"]]


def named(work, name):
    """The first candidate with this prefix; None if it failed or was left out."""
    candidates = (it for it in works.get(work, []) if it["name"].startswith(name) and "same memory" not in it["name"])
    return next(candidates, None)


def times(a, b):
    """The speed of a candidate relative to another."""
    return median(x / y for x, y in zip(a["rounds"], b["rounds"], strict=True))


def digits(value):
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def table(columns, rows):
    rows = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def losses():
    """Every candidate of simrecorder that is slower than a peer of the same work, and the fastest peer."""
    for work, candidates in works.items():
        # Sizes are among the aims: a codec that compresses less is faster.
        others = [] if work.startswith("sizes") else peers(work)
        for ours in filter(is_ours, candidates):
            slower = [(times(ours, peer), peer["name"]) for peer in others]
            if slower and min(slower)[0] < 0.95:
                yield f"{ours['title']} (`{work}`)", ours["name"], min(slower)[1], f"**{digits(min(slower)[0])}**"


def aim(values, limit, at_most=False):
    """Values, in bold if one of them does not reach the aim."""
    text = ", ".join(map(digits, values)) or "not measured"
    is_reached = all(value <= limit if at_most else value >= limit for value in values)
    return text if is_reached else f"**{text}, not reached**"


def sizes(store, compression, others):
    """The size of a store's data relative to the smallest of the others, for each data set."""
    for work in (work for work in works if work.startswith("sizes")):
        smallest = min(it["stored_bytes"] for it in works[work] if others(it))
        yield named(work, f"{store}, {compression}")["stored_bytes"] / smallest


def pairs(works, ours, peer):
    return [(work, ours, peer) for work in works]


FRAMES = ["smooth-frames", "random-frames"]
IN_MEMORY = [f"{work}-in-memory" for work in FRAMES]
HDF5_FRAMES = [f"hdf5-{work}" for work in FRAMES]
BY_MEMBER, BY_NAME = ([f"timelines-by-{how}-{count}" for count in (1, 10, 1000)] for how in ("member", "name"))
TIMELINE, SERIES = f"{LMDB}, timeline", f"{LMDB}, series"
BY_CHUNK = ", whole chunks by hand"
BY_HAND = f"h5py{BY_CHUNK}"
# At least so many times as fast as a peer: of each work, a candidate, and the start of the name of the peer. After *, a
# part of it: the fastest peer that has it.
SPEEDS = [
    ("f64 scalars by key, Zarr/LMDB", 10, "mcap", [("scalars-by-key", LMDB, "mcap")]),
    ("", 0.65, "the bare loop", [("scalars-by-key", LMDB, LOOP)]),
    ("", 15, "the fastest Python peer, by hand", [("scalars-by-key", LMDB, "*by hand")]),
    ("f64 scalars by handle, Zarr/LMDB", 0.8, "the bare loop", [("scalars-by-handle", LMDB, LOOP)]),
    ("records of 100 f64, Zarr/LMDB", 1.5, "mcap", [("vectors", LMDB, "mcap")]),
    ("", 4, "TensorStore, by hand", [("vectors", LMDB, "TensorStore, whole")]),
    ("1 MiB frames on a disk, Zarr/LMDB: smooth, random", 1, "the fastest peer", pairs(FRAMES, LMDB, "*")),
    ("", 1.2, "one raw file (smooth)", [(FRAMES[0], LMDB, FILE)]),
    ("", 0.9, "one raw file (random)", [(FRAMES[1], LMDB, FILE)]),
    ("the same into a directory", 0.8, "one raw file", pairs(FRAMES, DIRECTORY, FILE)),
    ("1 MiB frames in memory, Zarr/LMDB: smooth, random", 1, "mcap", pairs(IN_MEMORY, LMDB, "mcap")),
    ("", 1, "TensorStore", pairs(IN_MEMORY, LMDB, "TensorStore")),
    ("read all, Zarr/LMDB", 2, "TensorStore", [("read-all", LMDB, "TensorStore")]),
    ("", 3, "zarr-python", [("read-all", LMDB, "zarr-python")]),
    ("slices, Zarr/LMDB", 1, "the fastest peer", [("slices", LMDB, "*")]),
    ("10 000 groups of one record: LMDB, directory, HDF5", 1, "h5py",
     [("many-groups", store, "h5py") for store in (LMDB, DIRECTORY, HDF5)]),
    ("timelines of 1, 10, 1000 f64, by member", 1, "series by handle", pairs(BY_MEMBER, TIMELINE, SERIES)),
    ("the same by name", 1, "series by key", pairs(BY_NAME, TIMELINE, SERIES)),
    ("a timeline of frames and ten f64", 0.95, "series by key", pairs(["timelines-frames"], TIMELINE, SERIES)),
    ("HDF5: 1 MiB frames, smooth, random", 4, "h5py with gzip 1", pairs(HDF5_FRAMES, HDF5, "h5py, shuffle and gzip")),
    ("", 2, "h5py with lzf", pairs(HDF5_FRAMES, HDF5, "h5py, shuffle and lzf")),
    ("HDF5: records of 100 f64; scalars by key, by handle", 10, "h5py by hand",
     [("hdf5-vectors", HDF5, BY_HAND), *(("hdf5-scalars", f"{HDF5}, by {how}", BY_HAND) for how in ("key", "handle"))]),
    ("HDF5: read all", 4, "h5py", [("hdf5-read-all", HDF5, "h5py")]),
    ("HDF5: slices", 1, "h5py", [("hdf5-slices", HDF5, "h5py")]),
    ("Redis: f64 scalars by key", 0.4, "the bare loop", [("redis-scalars", REDIS, LOOP)]),
    ("Redis: records of 100 f64, frames", 0.8, "`redis-benchmark`",
     pairs(["redis-vectors", "redis-frames"], REDIS, "redis-benchmark")),
    ("Redis: read all", 3, "redis-py and pyarrow", [("redis-read", REDIS, "redis-py")]),
]


def speed_aims():
    for text, limit, peer_text, compared in SPEEDS:
        values = []
        for work, ours, peer in compared:
            others = peers(work, peer[1:]) if peer.startswith("*") else [named(work, peer)]
            if others and None not in others:
                values.append(min(times(named(work, ours), other) for other in others))
        yield text, f"{limit} x {peer_text}", aim(values, limit)


def other_aims():
    syncs = [named(work, DIRECTORY)["syncs"] for work in FRAMES if work in works]
    yield "1 MiB frames into a directory on a disk", "at most 168 syncs", aim(syncs, 168, at_most=True)
    for store, limit in ((LMDB, 16), (HDF5, 20)):
        megabytes = [named(work, store)["stored_bytes"] / 1e6 for work in ["many-groups"] if work in works]
        text = f"size of 10 000 groups of one record, {store.removeprefix('simrecorder, ')}"
        yield text, f"at most {limit} MB", aim(megabytes, limit, at_most=True)
    for store in (LMDB, DIRECTORY, HDF5):
        of_store = store.removeprefix("simrecorder, ")
        values = list(sizes(store, "Fast", lambda it: it["name"].startswith("SimRecorder for Python")))
        text = f"size of voltages, field, counts, random numbers, {of_store}"
        yield text, "at most 1.2 x SimRecorder for Python's codec", aim(values, 1.2, at_most=True)
        values = list(sizes(store, "Small", lambda it: not is_ours(it)))
        text = f"the same with `Small`, {of_store}"
        yield text, "at most 1.001 x the smallest peer", aim(values, 1.001, at_most=True)
    # The first is the loop without a recorder.
    latencies = [it["p99_9"] for it in of_kind("latency")]
    text = "99.9 % of single `record` calls, slowest store, µs"
    longer = [max(latencies[1:]) - latencies[0]] if latencies else []
    yield text, "at most 20 more than an empty loop", aim(longer, 20, at_most=True)
    runs = of_kind("long-run")
    text = f"100 million records of {', '.join(str(run['keys']) for run in runs)} keys: last tenth"
    yield text, "0.9 x the second tenth", aim([run["tenths"][9] / run["tenths"][1] for run in runs], 0.9)
    speeds = {run["keys"]: run["speed"] for run in runs}
    # A quick run is too short for many keys.
    values = [speeds[10_000] / speeds[10]] if 10_000 in speeds else []
    yield "records/s of 10 000 keys", "0.33 x those of 10 keys", aim(values, 0.33)
    used = [run["peak_mib"] / (256 + 64 + run["keys"] / 512) for run in runs]
    yield "anonymous memory", "at most 1 x (256 MiB, 64 MiB, and 2 KiB per key)", aim(used, 1, at_most=True)


def in_python():
    """The package compared with Rust and with each peer that writes whole chunks or reads."""
    for work, candidates in works.items():
        rust = [it for it in candidates if it["name"].startswith(LMDB)][:1]
        others = peers(work, BY_CHUNK) or peers(work)
        others = [it for it in others if it["name"].startswith(("h5py", "zarr-python", "TensorStore"))]
        lists = [it for it in candidates if it["name"].startswith("dictionary of lists")]
        for ours in (it for it in candidates if it["name"].startswith(PYTHON)):
            beside = [f"{digits(times(ours, it))} x Rust" for it in rust]
            beside += [f"{digits(times(ours, it))} x {it['name'].replace(BY_CHUNK, '')}" for it in lists + others]
            speed = f"{ours['median']:.4g} {ours['unit']}"
            yield f"{ours['title']} (`{work}`)", ours["name"].removeprefix(f"{PYTHON}, "), speed, "; ".join(beside)


def in_the_shell():
    for work in (work for work in works if work.startswith("simrec-")):
        for ours in filter(is_ours, works[work]):
            beside = "; ".join(f"{digits(times(ours, peer))} x `{peer['name']}`" for peer in peers(work))
            milliseconds = 1e3 * ours["amount"] / ours["median"]
            yield ours["title"], f"`{ours['name']}`", f"{milliseconds:.0f} ms", beside


def main():
    machine = of_kind("machine")[0]
    of_machine = [machine[it] for it in ("date", "processor", "memory", "kernel")]
    parts = {
        "machine": f"{', '.join(of_machine)}, {machine['disk file system']}; commit {machine['commit']}.",
        "losses": table(["work", "simrecorder", "fastest peer", "speed / peer"], losses()),
        "aims": table(["work", "at least, unless the row says otherwise", "here"], [*speed_aims(), *other_aims()]),
        "python": table(["work", "how", "speed", "as fast as"], in_python()),
        "shell": table(["work", "command", "time", "as fast as"], in_the_shell()),
    }
    text = page.read_text()
    for name, part in parts.items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        before, rest = text.split(begin)
        text = before + begin + part + "\n" + end + rest.split(end)[1]
    page.write_text(text)
    for failure in of_kind("failure"):
        print(f"{failure['work']} failed: {failure['failure']}", file=sys.stderr)


main()
