"""The page as a person sees and uses it."""

import base64
import io
import json
from urllib.parse import urlsplit

import numpy as np
from PIL import Image
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

# Far longer than anything takes; a test that waits this long fails.
LIMIT = 60


class Page:
    """The page in a browser."""

    def __init__(self, driver):
        self.driver = driver
        self.hosts = set()
        # A part of a console message that a test provokes.
        self.expected = []
        self.resize(1280, 900)
        self.command("Emulation.setEmulatedMedia", features=[])
        self.command("Network.clearBrowserCookies")
        driver.get_log("browser")
        driver.get_log("performance")

    def command(self, name, **arguments):
        return self.driver.execute_cdp_cmd(name, arguments)

    def resize(self, width, height):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.command("Emulation.setDeviceMetricsOverride", **size)

    def open(self, server, fragment=""):
        """Opens the address printed by a server."""
        self.hosts.add(urlsplit(server.origin).netloc)
        # A page whose fragment changes is not loaded again.
        self.driver.get("about:blank")
        self.driver.get(server.url + fragment)
        self.wait(lambda: self.all("[role=treeitem]") or self.text("#status"))
        return self

    def finish(self):
        """Fails the test if there was an error on the console, or a request to another host."""
        errors = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        unexpected = [text for text in errors if not any(part in text for part in self.expected)]
        hosts = set()
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = urlsplit(message["params"]["request"]["url"])
                if url.scheme not in ("data", "about"):
                    hosts.add(url.netloc)
        self.driver.get("about:blank")
        self.driver.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": "*", "storageTypes": "all"})
        assert not unexpected, unexpected
        assert hosts <= self.hosts, hosts

    # Contents of the page.

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.wait(lambda: self.all(selector))[0]

    def texts(self, selector):
        """The text of all elements, as of one moment: the page may replace them at any time."""
        script = """
            const found = [...document.querySelectorAll(arguments[0])];
            return found.map(it => it.checkVisibility() ? it.innerText.trim() : "");
        """
        return self.run(script, selector)

    def text(self, selector):
        found = self.texts(selector)
        return found[0] if found else ""

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition, what=""):
        """Waits until a condition holds, and returns what it returned."""
        return WebDriverWait(self.driver, LIMIT, 0.05, ignored_exceptions=[IndexError]).until(
            lambda _: self._try(condition), what
        )

    @staticmethod
    def _try(condition):
        from selenium.common.exceptions import StaleElementReferenceException

        try:
            return condition()
        except StaleElementReferenceException:
            return None

    def wait_text(self, selector, part):
        self.wait(lambda: part in self.text(selector), f"{part!r} in {selector}")

    @property
    def fragment(self):
        return self.run("return decodeURIComponent(location.hash)")

    def keys(self):
        """The keys in the rows of the tree."""
        return self.run("return [...document.querySelectorAll('[role=treeitem]')].map(row => row.dataset.key)")

    def row(self, key):
        script = "return [...document.querySelectorAll('[role=treeitem]')].find(row => row.dataset.key === arguments[0])"
        return self.wait(lambda: self.run(script, key), f"a row for {key!r}")

    def panels(self):
        return self.all(".panel")

    def settle(self):
        """Waits until all panels have loaded their contents."""
        self.wait(lambda: not self.all(".panel[aria-busy=true]"), "panels that are not busy")

    def note(self, panel=0):
        self.settle()
        return self.texts(".panel .note")[panel].replace("\u202f", " ")

    # Actions of a person.

    def choose(self, key):
        """Clicks on a key, and waits for its panel."""
        before = len(self.panels())
        self.wait(lambda: self.row(key).click() or True)
        self.wait(lambda: len(self.panels()) == before + 1, f"a panel of {key!r}")
        self.settle()
        return self.panels()[before]

    def select(self, label, text, panel=0):
        """Chooses an option of a list."""
        script = """
            const select = [...document.querySelectorAll('.panel')][arguments[0]]
                .querySelector(`select[aria-label^="${arguments[1]}"]`);
            select.selectedIndex = [...select.options].findIndex(option => option.text === arguments[2]);
            select.dispatchEvent(new Event('change', { bubbles: true }));
        """
        self.run(script, panel, label, text)
        self.settle()

    def shift_click(self, key):
        def click():
            ActionChains(self.driver).key_down(Keys.SHIFT).click(self.row(key)).key_up(Keys.SHIFT).perform()
            return True

        self.wait(click)

    def type_over(self, element, text):
        element.send_keys(Keys.CONTROL + "a")
        element.send_keys(text)

    def button(self, text, panel=None):
        """The button with a text or label, on the page or in a panel."""
        script = """
            const root = arguments[1] === null ? document : document.querySelectorAll(".panel")[arguments[1]];
            const isMeant = it => it.ariaLabel === arguments[0] || it.checkVisibility() && it.innerText.trim() === arguments[0];
            return [...root.querySelectorAll("button")].find(isMeant);
        """
        return self.wait(lambda: self.run(script, text, panel), f"the button {text!r}")

    def press(self, *keys):
        actions = ActionChains(self.driver)
        for key in keys:
            actions.send_keys(getattr(Keys, key, key))
        actions.perform()

    def drag(self, start, end, panel=0):
        """Draws a range of a plot, from one part of its width to another."""
        self.settle()
        area = self.plot_area(panel)
        middle = area["top"] + area["height"] / 2
        x = [round(area["left"] + area["width"] * part) for part in (start, end)]
        actions = ActionChains(self.driver, duration=20)
        actions.w3c_actions.pointer_action.move_to_location(x[0], round(middle))
        actions.w3c_actions.pointer_action.pointer_down()
        actions.w3c_actions.pointer_action.move_to_location((x[0] + x[1]) // 2, round(middle))
        actions.w3c_actions.pointer_action.move_to_location(x[1], round(middle))
        actions.w3c_actions.pointer_action.pointer_up()
        actions.perform()
        self.settle()

    def double_click(self, panel=0):
        area = self.panels()[panel].find_element(By.CSS_SELECTOR, ".plot")
        ActionChains(self.driver).double_click(area).perform()
        self.settle()

    # Drawings.

    def plot_area(self, panel=0):
        """The place of a plot's data within the window."""
        script = """
            const panel = document.querySelectorAll('.panel')[arguments[0]];
            panel.scrollIntoView({ block: 'center' });
            const over = panel.querySelector('.u-over') ?? panel.querySelector('canvas');
            const { left, top, width, height } = over.getBoundingClientRect();
            return { left, top, width, height };
        """
        return self.run(script, panel)

    def canvas(self, panel=0):
        """The pixels of the canvas of a plot: rows, columns, and red, green, blue and opacity."""
        self.settle()
        script = """
            const canvas = document.querySelectorAll('.panel')[arguments[0]].querySelector('canvas');
            return canvas && canvas.width > 0 ? canvas.toDataURL('image/png') : null;
        """
        data = self.wait(lambda: self.run(script, panel), "a canvas")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data.split(",")[1]))).convert("RGBA"))

    def inked(self, colour, panel=0):
        """The pixels of the data area of a canvas that have approximately a colour."""
        pixels = self.canvas(panel).astype(int)
        script = """
            const panel = document.querySelectorAll('.panel')[arguments[0]];
            const [over, canvas] = ['.u-over', 'canvas'].map(it => panel.querySelector(it).getBoundingClientRect());
            return [over.left - canvas.left, over.top - canvas.top, over.width, over.height].map(Math.round);
        """
        left, top, width, height = self.run(script, panel)
        part = pixels[top : top + height, left : left + width]
        near = np.abs(part[..., :3] - np.array(colour)).max(axis=-1) < 90
        return near & (part[..., 3] > 100)
