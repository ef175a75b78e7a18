"""Makes the pictures of docs/live.md from `simrec serve --demo` and a recording of the quickstart:

pictures.py FOLDER RECORDING
"""

import sys
from pathlib import Path

from page import Page
from programs import Server, browser

PANELS = (
    "#show=lines&key=net/rate&smooth=3&show=raster&key=net/spikes&show=image&key=field/concentration"
    "&show=heat-map&key=net/v&from=500&to=700"
)

QUICKSTART = (
    "#show=lines&key=net/rate&smooth=1&show=raster&key=net/spikes&from=2000&to=2400"
    "&show=heat-map&key=net/v[:,+:60]&from=200&to=600&show=lines&key=net/v[:,+7]&key=net/v[:,+8]&from=0&to=300"
)


def picture(page, name, server, fragment, width, height, theme="light"):
    page.resize(width, height)
    page.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
    page.open(server, fragment)
    page.wait(lambda: page.all("#tree .spark"))
    page.settle()
    page.driver.save_screenshot(str(Path(sys.argv[1]) / f"{name}.png"))


def main():
    driver, server, quickstart = browser(), Server("--demo"), Server(sys.argv[2])
    try:
        page = Page(driver)
        page.open(server, "#show=lines&key=net/rate")
        # An instructive part of the simulation.
        page.wait(lambda: int(page.note().split(" of ")[1].split(" points")[0].replace(" ", "")) > 1000)
        picture(page, "live", server, PANELS, 1280, 950)
        picture(page, "live-dark", server, PANELS, 1280, 950, "dark")
        picture(page, "live-narrow", server, PANELS, 390, 844)
        more = "#show=table&show=records&key=log&show=image&key=field/density&show=histogram&key=net/rate&show=lines&key=net/v[:,+3]"
        picture(page, "live-panels", server, more + "&key=net/v[:,+7]&show=details&key=net/v", 1280, 1300)
        picture(page, "live-quickstart", quickstart, QUICKSTART, 1280, 950)
    finally:
        driver.quit()
        server.stop()
        quickstart.stop()


if __name__ == "__main__":
    main()
