"""Fixtures for tests of the page of `simrec serve`: a real browser, a real server, and real writers."""

import subprocess
import sys
import textwrap

import pytest
from page import Page
from places import in_own_folder, place, redis_server
from programs import Server, browser

__all__ = ["in_own_folder", "place", "redis_server"]


@pytest.fixture
def serve():
    """Starts servers. They end with the test."""
    servers = []

    def start(*arguments, **options):
        servers.append(Server(*arguments, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.process.kill()
        server.process.wait()


@pytest.fixture
def write():
    """Starts writers: Python programs that read a line from standard input before each step."""
    writers = []

    def start(program, *arguments):
        program = "import sys, numpy as np, simrecorder\n" + textwrap.dedent(program)
        command = [sys.executable, "-c", program, *arguments]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        writers.append(subprocess.Popen(command, text=True, bufsize=1, **pipes))
        return writers[-1]

    yield start
    for writer in writers:
        writer.kill()
        writer.wait()


@pytest.fixture(scope="session")
def driver():
    driver = browser()
    yield driver
    driver.quit()


@pytest.fixture
def page(driver, serve, write):
    """The page of a server. Checks afterwards that it reported no error and sent no request to another host."""
    page = Page(driver)
    yield page
    page.finish()
