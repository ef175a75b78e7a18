"""Forks, other processes, threads, signals, and the end of the interpreter."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import simrecorder
from simrecorder import Recorder


def run(program, *arguments, check=True):
    """Runs a Python program in another process."""
    program = "import os, signal, sys, threading, time\nimport numpy as np\nimport simrecorder\n" + textwrap.dedent(
        program
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=120
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def in_child(work):
    """Does work in a forked child. Fails if the child hangs or fails."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(60)
            work()
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def total(view):
    return float(np.sum(view))


def written(place):
    recorder = simrecorder.create(place)
    for step in range(1000):
        recorder.record("v", np.full(10, float(step)))
    recorder.flush()
    return recorder


def test_a_forked_child_reads_views_of_its_parent(place):
    recorder = written(place)
    view = recorder["v"]
    expected = total(view)

    def read():
        assert total(view) == expected
        assert view[-1][0] == 999.0

    in_child(read)
    recorder.record("v", np.zeros(10))
    recorder.close()
    assert len(simrecorder.open(place)["v"]) == 1001


def test_recording_through_an_inherited_recorder_raises_at_once(place):
    recorder = written(place)
    net = recorder.timeline("net", "time")

    def record():
        for call in (
            lambda: recorder.record("v", np.zeros(10)),
            lambda: recorder.record("new", 1),
            lambda: recorder.set("value", 1),
            recorder.flush,
            recorder.close,
            lambda: net.advance(0.5),
        ):
            with pytest.raises(simrecorder.ForkedError):
                call()
        gc.collect()

    in_child(record)
    recorder.close()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_multiprocessing_read_a_view(place, method):
    recorder = written(place)
    view = recorder["v"]
    with multiprocessing.get_context(method).Pool(2) as pool:
        parts = pool.map(total, [view, view.refresh(), view])
    assert parts == [total(view)] * 3
    recorder.close()


def test_a_child_that_was_forked_while_threads_record_and_flush_can_record_by_itself():
    recorder = simrecorder.create("run.mdb")
    stop = threading.Event()

    def work(key):
        while not stop.is_set():
            recorder.record(key, np.zeros(1000))
            recorder.flush()

    threads = [threading.Thread(target=work, args=(key,)) for key in "ab"]
    for thread in threads:
        thread.start()

    def record():
        with simrecorder.create(f"child-{os.getpid()}.mdb") as own:
            own.record("x", 0.5)
            assert own["x"][0] == 0.5

    try:
        for _ in range(10):
            in_child(record)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    recorder.close()


def test_a_forked_child_ends_while_threads_of_its_parent_flush():
    run(
        """
        recorder = simrecorder.create("run.mdb")
        stop = threading.Event()

        def work():
            while not stop.is_set():
                recorder.record("x", np.zeros(1 << 16))
                recorder.flush()

        thread = threading.Thread(target=work)
        thread.start()
        for _ in range(10):
            child = os.fork()
            if child == 0:
                stop.set()
                signal.alarm(60)
                sys.exit(0)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        thread.join()
        """
    )


def test_two_threads_record_into_one_recorder_and_one_timeline():
    recorder = Recorder("run.mdb")
    net = recorder.timeline("net", "step", dtype=int)
    lock = threading.Lock()
    steps = iter(range(2000))

    def work(key):
        for number in range(20_000):
            recorder.record(key, number)
            recorder.record("both", number)
        for _ in range(1000):
            with lock:
                net.tick(next(steps), x=1.0)

    threads = [threading.Thread(target=work, args=(key,)) for key in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.array_equal(recorder["a"], np.arange(20_000)) and len(recorder["both"]) == 40_000
    net.finish()
    assert np.array_equal(recorder["net/step"], np.arange(2000))


def test_another_thread_runs_while_a_call_waits():
    recorder = Recorder("run.mdb", commit_interval=None)
    turns = 0
    done = threading.Event()

    def count():
        nonlocal turns
        while not done.is_set():
            turns += 1
            time.sleep(0)

    thread = threading.Thread(target=count)
    thread.start()
    before = turns
    frame = np.random.default_rng(1).random(1 << 20)
    for _ in range(20):
        recorder.record("frame", frame)
        recorder.flush()
    during = turns - before
    done.set()
    thread.join()
    assert during > 20


def test_the_end_of_the_interpreter_writes_everything(place):
    run(
        """
        recorder = simrecorder.create(sys.argv[1])
        with recorder.timeline("net", "time") as net:
            net.tick(0.5, x=1.0)
        open_timeline = recorder.timeline("other", "time")
        open_timeline.tick(0.5, x=1.0)
        for step in range(100):
            recorder.record("rate", float(step))
        cycle = [recorder]
        cycle.append(cycle)
        """,
        place,
    )
    recorder = simrecorder.open(place)
    assert len(recorder["rate"]) == 100 and len(recorder["other/x"]) == 1


def test_an_exception_inside_with_writes_what_was_recorded(place):
    with pytest.raises(RuntimeError), simrecorder.create(place) as recorder:
        recorder.record("rate", 0.5)
        raise RuntimeError("the simulation failed")
    assert simrecorder.open(place)["rate"][:].tolist() == [0.5]
    with pytest.raises(ValueError, match="closed"):
        recorder.record("rate", 0.5)


def test_calls_after_close_are_errors_and_a_second_close_is_none(place):
    recorder = simrecorder.create(place)
    recorder.record("rate", 0.5)
    net = recorder.timeline("net", "time")
    recorder.close()
    recorder.close()
    for call in (
        lambda: recorder.record("rate", 0.5),
        lambda: recorder.record("new", 0.5),
        lambda: recorder.set("value", 0.5),
        lambda: recorder.get("value"),
        lambda: recorder.get_all("rate"),
        lambda: recorder["rate"],
        lambda: list(recorder),
        lambda: net.advance(0.5),
        recorder.flush,
    ):
        with pytest.raises(simrecorder.ClosedError, match="closed"):
            call()
    assert "closed" in repr(recorder)


def test_a_cycle_of_references_does_not_keep_a_file_locked():
    class Simulation:
        def __init__(self):
            self.recorder = simrecorder.create("run.mdb")
            self.step = self.record

        def record(self):
            self.recorder.record("rate", 0.5)

    gc.disable()
    try:
        simulation = Simulation()
        simulation.step()
        del simulation
        with simrecorder.append("run.mdb") as recorder:
            assert len(recorder["rate"]) == 1
    finally:
        gc.enable()


# Sends itself SIGINT some time after a call began.
INTERRUPTED = """
    def interrupt():
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    def interrupted(call):
        threading.Thread(target=interrupt).start()
        try:
            while True:
                call()
        except KeyboardInterrupt:
            print("interrupted")
"""


def test_ctrl_c_while_numpy_is_imported_is_a_keyboard_interrupt():
    program = """
        import os, signal, sys
        signal.signal(signal.SIGINT, signal.default_int_handler)

        class Interrupting:
            def find_spec(self, name, path=None, target=None):
                if name == "numpy.linalg":
                    os.kill(os.getpid(), signal.SIGINT)

        sys.meta_path.insert(0, Interrupting())
        try:
            import simrecorder
            with simrecorder.create("run.mdb") as recorder:
                recorder.record("v", 1.5)
        except KeyboardInterrupt:
            print("interrupted")
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout == "interrupted\n", done.stderr


def test_ctrl_c_ends_a_long_flush_and_nothing_is_lost():
    done = run(
        INTERRUPTED
        + """
    recorder = simrecorder.create("run.mdb")
    frame = np.random.default_rng(1).random(1 << 18)
    count = 0

    def record():
        global count
        for _ in range(20):
            recorder.record("frame", frame)
            count += 1
        recorder.flush()

    interrupted(record)
    print(count)
        """
    )
    assert done.stdout.startswith("interrupted")
    view = simrecorder.open("run.mdb")["frame"]
    # All accepted records are there; one more may have been in progress.
    assert len(view) - int(done.stdout.split()[1]) in (0, 1)


def test_ctrl_c_ends_a_long_read():
    with simrecorder.create("run.mdb", compression="none") as recorder:
        frame = np.zeros(1 << 20)
        for _ in range(64):
            recorder.record("frame", frame)
    done = run(
        INTERRUPTED
        + """
    view = simrecorder.open("run.mdb")["frame"]
    interrupted(lambda: np.asarray(view))
        """
    )
    assert done.stdout.startswith("interrupted")


def test_ctrl_c_ends_a_wait_for_a_server(redis_server):
    place = f"redis://localhost:{redis_server.port}?run=waiting"
    with simrecorder.create(place) as recorder:
        recorder.record("rate", 0.5)
    done = run(
        INTERRUPTED
        + """
    view = simrecorder.open(sys.argv[1])["rate"]
    interrupted(lambda: view.follow(600.0))
    # Without waiting for running work.
    sys.stdout.flush()
    os._exit(0)
        """,
        place,
    )
    assert done.stdout.split() == ["interrupted"]


def test_ctrl_c_ends_close_and_the_rest_is_written_before_the_process_ends():
    run(
        """
        import _thread
        recorder = simrecorder.create("run.mdb")
        for step in range(200):
            recorder.record("frame", np.full(1 << 17, float(step)))
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            recorder.close()
        except KeyboardInterrupt:
            pass
        """,
    )
    assert np.array_equal(simrecorder.open("run.mdb")["frame"][:, 0], np.arange(200.0))


def test_a_killed_process_loses_nothing_that_was_flushed(place):
    done = run(
        """
        recorder = simrecorder.create(sys.argv[1])
        with recorder.timeline("net", "step", dtype=int) as net:
            for step in range(100):
                net.tick(step, x=float(step))
        recorder.flush()
        recorder.record("rest", 1)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        place,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    with simrecorder.append(place) as recorder:
        assert len(recorder["net/x"]) == 100
        with recorder.timeline("net", "step") as net:
            assert net.last == 99
            net.tick(100, x=100.0)
    assert np.array_equal(simrecorder.open(place)["net/x"], np.arange(101.0))
