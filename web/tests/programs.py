"""The programs that the tests start: `simrec serve`, and a browser."""

import os
import re
import shutil
import signal
import subprocess

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

# Selenium must not look for a browser or a driver elsewhere.
os.environ["SE_OFFLINE"] = "true"


class Server:
    """`simrec serve` in a separate process."""

    def __init__(self, *arguments, port=0):
        command = [os.environ["SIMREC"], "serve", "--port", str(port), *map(str, arguments)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()
        match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=(\w+)", self.url)
        assert match, f"the server printed {self.url!r}"
        self.port, self.token = int(match[1]), match[2]
        self.origin = f"http://127.0.0.1:{self.port}"

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=60)


def browser():
    """Headless Chromium, which logs its console and its requests."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
