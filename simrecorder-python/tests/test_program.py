"""The program `simrec` of the package."""

import subprocess
import sys

import simrecorder


def simrec(*arguments):
    program = "import sys; from simrecorder._program import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)


def test_simrec_lists_prints_and_says_how_it_ended():
    with simrecorder.create("run.h5") as recorder:
        for step in range(3):
            recorder.record("net/rate", 0.5 * step)
    assert "net/rate" in simrec("ls", "run.h5").stdout
    assert simrec("cat", "run.h5", "net/rate").stdout.split() == ["0.0", "0.5", "1.0"]
    failed = simrec("ls", "nothing.mdb")
    assert failed.returncode == 2 and failed.stderr.startswith("simrec: ")
    assert simrec("--version").stdout.strip() == f"simrec {simrecorder.__version__}"
