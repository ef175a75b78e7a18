"""The page while simulations run: new ticks, stalls, ends, kills, restarts."""

import pytest

WRITER = """
    with simrecorder.create(sys.argv[1]) as recorder:
        net = recorder.timeline("net", "time", units="ms")
        step = 0
        for line in sys.stdin:
            for _ in range(int(line)):
                net.advance(float(step))
                net.record("rate", float(step % 10))
                step += 1
            recorder.flush()
            print(step, flush=True)
        net.finish()
"""


class Writer:
    """A simulation that continues when told to."""

    def __init__(self, write, place):
        self.process = write(WRITER, str(place))
        self.steps(100)

    def steps(self, count):
        self.process.stdin.write(f"{count}\n")
        return int(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=60) == 0


def test_new_ticks_appear_and_the_end_is_seen(page, serve, write, place):
    writer = Writer(write, place)
    page.open(serve(place))
    page.choose("net/rate")
    # A tick is complete when the next one begins or at a flush.
    page.wait(lambda: "100 of 100 points" in page.note())
    writer.steps(50)
    page.wait(lambda: "150 of 150 points" in page.note())
    page.wait_text("#recordings", "recording")
    writer.end()
    page.wait_text("#recordings", "ended")
    assert page.text("#status") == ""


def test_a_killed_writer_is_shown_as_killed(page, serve, write, place):
    writer = Writer(write, place)
    page.open(serve(place))
    page.wait_text("#recordings", "recording")
    writer.process.kill()
    page.wait_text("#recordings", "killed")
    page.choose("net/rate")
    assert "100 of 100 points" in page.note()


def test_a_simulation_without_news_is_shown_as_stalled(page, serve, write, place):
    writer = Writer(write, place)
    page.open(serve(place))
    page.wait_text("#recordings", "recording")
    page.wait_text("#recordings", "stalled")
    writer.steps(1)
    page.wait_text("#recordings", "recording")


def test_pausing_freezes_the_view_without_losing_the_place(page, serve, write):
    writer = Writer(write, "run.mdb")
    page.open(serve("run.mdb"))
    page.choose("net/rate")
    page.drag(0.2, 0.6)
    note, fragment = page.note(), page.fragment
    page.button("Pause").click()
    writer.steps(100)
    page.wait_text("#status", "Paused")
    # The page has received the update, as its tree shows.
    page.run("return fetch('/api/nodes?recording=0&key=net/rate').then(answer => answer.json())")
    assert (page.note(), page.fragment) == (note, fragment)
    page.button("Resume").click()
    page.double_click()
    page.wait(lambda: "200 of 200 points" in page.note())


def test_a_new_key_appears_in_the_tree(page, serve, write):
    program = """
        with simrecorder.create(sys.argv[1]) as recorder:
            for line in sys.stdin:
                recorder.record(line.strip(), 1.0)
                recorder.flush()
                print("", flush=True)
    """
    writer = write(program, "run.mdb")
    for key in ("first", "second"):
        writer.stdin.write(f"{key}\n")
        writer.stdout.readline()
        if key == "first":
            page.open(serve("run.mdb"))
            page.row("first")

    def written():
        # The page checks for new keys from time to time, after a commit.
        writer.stdin.write("first\n")
        writer.stdout.readline()
        return "second" in page.keys()

    page.wait(written)


def test_two_tabs_show_the_same_server(page, serve, write):
    writer = Writer(write, "run.mdb")
    server = serve("run.mdb")
    page.open(server)
    page.choose("net/rate")
    first = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    page.driver.get(server.origin + "/#show=lines&key=net/time")
    page.wait(page.panels)
    writer.steps(50)
    page.wait(lambda: "150 of 150 points" in page.note())
    page.driver.close()
    page.driver.switch_to.window(first)
    page.wait(lambda: "150 of 150 points" in page.note())


def test_the_page_continues_after_it_was_offline(page, serve, write):
    page.expected = ["ERR_INTERNET_DISCONNECTED", "ERR_NETWORK_CHANGED"]
    writer = Writer(write, "run.mdb")
    page.open(serve("run.mdb"))
    page.choose("net/rate")
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.command("Network.emulateNetworkConditions", offline=True, **network)
    page.button("log", 0).click()
    page.wait(lambda: "the server cannot be reached" in page.text(".error"))
    writer.steps(50)
    page.command("Network.emulateNetworkConditions", offline=False, **network)
    page.wait(lambda: "of 150 points" in page.note())
    page.wait(lambda: page.text("#status") == "" and page.text(".error") == "")


def test_the_page_says_that_a_restarted_server_has_another_token(page, serve, write):
    page.expected = ["ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET", "INCOMPLETE_CHUNKED", "403"]
    writer = Writer(write, "run.mdb")
    server = serve("run.mdb")
    page.open(server)
    page.choose("net/rate")
    server.process.kill()
    server.process.wait()
    page.wait_text("#status", "The server cannot be reached; trying again")
    second = serve("run.mdb", port=server.port)
    page.wait_text("#status", "another token")
    # The address of the second server is opened in another tab, and this one continues automatically.
    first = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    page.driver.get(second.url)
    page.wait(page.keys)
    page.driver.close()
    page.driver.switch_to.window(first)
    page.wait(lambda: page.text("#status") == "")
    writer.steps(50)
    page.wait(lambda: "150 of 150 points" in page.note())
