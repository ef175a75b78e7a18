"""Records in a thread while it forks, with os.fork and with multiprocessing.

Arguments: the library `c_abi`, and the recording to create. Each child reads the recording that it
opens itself, and gets errors from what it inherits. The parent's recording must be complete afterwards.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import warnings

FORKS = 12
# Python warns of forks in a process with threads.
warnings.filterwarnings("ignore", category=DeprecationWarning)

library = ctypes.CDLL(sys.argv[1])
url = sys.argv[2].encode()
library.recorder_open.restype = ctypes.c_void_p
for name in ["record", "flush", "close", "check"]:
    getattr(library, f"recorder_{name}").restype = ctypes.c_int64


def call(name, *arguments):
    error = ctypes.create_string_buffer(256)
    result = getattr(library, f"recorder_{name}")(*arguments, error)
    if result in (-1, None):
        raise OSError(error.value.decode())
    return result


class Recorder:
    def __init__(self, mode):
        self.handle = ctypes.c_void_p(call("open", mode.encode(), url))

    def record(self, value):
        call("record", self.handle, b"n", ctypes.c_double(value))

    def flush(self):
        call("flush", self.handle)

    def check(self):
        return call("check", self.handle, b"n")

    def close(self):
        call("close", self.handle)

    def free(self):
        library.recorder_free(self.handle)


def expect_error(work):
    try:
        work()
    except OSError as error:
        assert "open the recording again" in str(error), error
    else:
        raise AssertionError("what was inherited does something")


def use(inherited):
    """The work of each child."""
    # Kills a child that hangs, so that the program fails.
    signal.alarm(60)
    for recorder in inherited:
        expect_error(lambda: recorder.record(1.0))
        expect_error(recorder.flush)
        expect_error(recorder.check)
        expect_error(recorder.close)
        recorder.free()
    reader = Recorder("open")
    assert reader.check() >= 100
    reader.close()
    reader.free()


def in_a_fork(inherited, ending):
    process = os.fork()
    if process == 0:
        try:
            use(inherited)
        except BaseException as error:
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
        ending(0)
    _, status = os.waitpid(process, 0)
    assert status == 0, status


def main():
    recorder = Recorder("create")
    for step in range(100):
        recorder.record(step)
    recorder.flush()
    reader = Recorder("open")
    reader.check()
    inherited = [recorder, reader]

    is_over = threading.Event()
    steps = []

    def record():
        step = 100
        while not is_over.is_set():
            recorder.record(step)
            step += 1
            if step % 10 == 0:
                recorder.flush()
        steps.append(step)

    def read():
        while not is_over.is_set():
            reader.check()

    threads = [threading.Thread(target=work) for work in (record, read)]
    for thread in threads:
        thread.start()
    context = multiprocessing.get_context("fork")
    for _ in range(FORKS):
        # A child that ends at once, one that ends like a program, and one of multiprocessing.
        in_a_fork(inherited, os._exit)
        in_a_fork(inherited, leave)
        child = context.Process(target=use, args=(inherited,))
        child.start()
        child.join()
        assert child.exitcode == 0, child.exitcode
    is_over.set()
    for thread in threads:
        thread.join()
    recorder.close()
    assert reader.check() == steps[0]
    for each in inherited:
        each.free()
    again = Recorder("append")
    assert again.check() == steps[0]
    again.close()


def leave(code):
    """Ends the process as C programs do, with everything that was registered for its end."""
    ctypes.CDLL(None).exit(code)


main()
