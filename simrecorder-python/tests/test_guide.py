"""The Python programs of docs/guide.md run in order, and its commands print what the guide shows for what these
programs recorded. `guide.rs` of simrecorder-cli does the same in Rust."""

import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import simrecorder

GUIDE = Path(__file__).parents[2] / "docs/guide.md"
SIMREC = "import sys; from simrecorder._program import main; sys.exit(main())"


def blocks():
    return re.findall(r"^```(\S*)\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)


def has_saved_state(path):
    try:
        with simrecorder.open(path) as recorder:
            return recorder.get("state") is not None
    except FileNotFoundError:
        return False


def interrupt(program):
    """Sends SIGINT to a program when another process sees the state that it saved. The program works slowly, so that it
    has not ended then."""
    slow = program.replace("time.sleep(0.002)", "time.sleep(0.02)")
    assert slow != program
    with subprocess.Popen([sys.executable, "-c", slow], stderr=subprocess.PIPE, text=True) as child:
        while not has_saved_state("walk.mdb"):
            assert child.poll() is None
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        assert child.stderr.read().endswith("KeyboardInterrupt\n")


def run(program):
    if "SIGTERM" in program:
        interrupt(program)
    subprocess.run([sys.executable, "-c", program], check=True)


def serve(block):
    """Starts the server of a block on a free port. Returns it with its URL."""
    secret, server = block.splitlines()
    subprocess.run(secret, shell=True, check=True)
    arguments = shlex.split(server.replace("--port 6379 ", ""))
    child = subprocess.Popen([sys.executable, "-c", SIMREC, *arguments[1:]], stdout=subprocess.PIPE, text=True)
    return child, child.stdout.readline().strip()


def run_commands(block):
    """Runs the commands of a block. Returns the block with their output."""
    lines = []
    for command in re.findall(r"^\$ (.*)", block, re.MULTILINE):
        ran = subprocess.run(command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        lines.append(f"$ {command}\n{ran.stdout}")
    return "".join(lines)


def test_the_programs_and_commands_of_the_guide_run_in_their_order(tmp_path, monkeypatch):
    simrec = tmp_path / "bin/simrec"
    simrec.parent.mkdir()
    simrec.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(SIMREC)} \"$@\"\n")
    simrec.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{simrec.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("WORKER", "1")
    servers = []
    languages = set()
    try:
        for language, block in blocks():
            languages.add(language)
            if language == "python":
                run(block)
            elif language == "sh":
                server, url = serve(block)
                servers.append(server)
                monkeypatch.setenv("SWEEP_URL", f"{url}?run=sweep")
            elif language == "console":
                printed = run_commands(block)
                assert [line.rstrip() for line in printed.splitlines()] == [line.rstrip() for line in block.splitlines()]
    finally:
        for server in servers:
            server.send_signal(signal.SIGINT)
            assert server.wait() == 0
    assert languages == {"text", "rust,no_run", "python", "console", "sh"}
