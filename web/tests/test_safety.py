"""Access to the page, hostile recordings, and accessibility."""

import functools
import http.client
import http.server
import threading

import numpy as np
import pytest
import simrecorder

HOSTILE = [
    '<img src=x onerror="document.title=1">',
    "<script>document.title=1",
    "quotes\"'`",
    "right\u202eto left",
    "a&show=table#%00",
    "x" * 200,
]


def record(path="run.mdb"):
    with simrecorder.create(path) as recorder:
        for step in range(10):
            recorder.record("x", float(step))
            recorder.record("log", f"step {step}")
    return path


def test_hostile_keys_and_texts_are_only_text(page, serve):
    with simrecorder.create("<b>run.mdb") as recorder:
        for index, key in enumerate(HOSTILE):
            for step in range(5):
                recorder.record(f"series/{key}", float(step + index))
                recorder.record(f"texts/{key}", key)
            recorder.set(f"values/{key}", key)
    page.open(serve("<b>run.mdb"))
    for group in ("series", "texts", "values"):
        for key in HOSTILE:
            page.choose(f"{group}/{key}")
            page.button("Close", 0).click()
    for panel, form in enumerate(("series", "texts", "values")):
        page.choose(f"{form}/{HOSTILE[0]}")
    page.select("Form", "Details", 0)
    page.one("#search").send_keys("<img")
    page.wait(lambda: len(page.keys()) == 3)
    assert page.all("#side img, main img, main script, #recordings b") == []
    assert page.run("return document.title") == "<b>run.mdb · simrecorder"
    # A link to them also shows them.
    fragment = page.run("return location.hash")
    page.run("location.reload()")
    page.wait(lambda: len(page.panels()) == 3)
    page.settle()
    assert page.run("return location.hash") == fragment
    assert page.all("main img, main script") == []


@pytest.mark.parametrize("path", ["/", "/?token=0", "/?token=" + "0" * 48])
def test_without_the_token_there_is_no_page(page, serve, path):
    page.expected = ["403"]
    server = serve(record())
    page.hosts.add(f"127.0.0.1:{server.port}")
    page.driver.get(server.origin + path)
    assert "token" in page.text("body")
    assert page.all("[role=tree]") == []
    assert "x" not in page.keys()


def test_the_token_leaves_the_address(page, serve):
    server = serve(record())
    page.open(server)
    page.row("x")
    assert server.token not in page.driver.current_url
    assert page.run("return document.cookie") == ""


def test_the_licences_of_the_page_are_with_it(page, serve):
    page.open(serve(record()))
    assert "Leon Sorokin" in page.run("return fetch('/licences.txt').then(answer => answer.text())")


@pytest.mark.parametrize("host", ["example.com", "127.0.0.1.example.com", ""])
def test_another_host_name_is_refused(serve, host):
    server = serve(record())
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.putrequest("GET", f"/?token={server.token}", skip_host=True)
    if host:
        connection.putheader("Host", host)
    connection.endheaders()
    assert connection.getresponse().status in (400, 421)


def test_a_page_of_another_origin_reads_nothing(page, serve, tmp_path):
    server = serve(record())
    page.open(server)
    (tmp_path / "index.html").write_text("<title>other</title>")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as other:
        threading.Thread(target=other.serve_forever).start()
        page.hosts.add(f"127.0.0.1:{other.server_port}")
        page.expected = ["CORS", "Failed to load resource", "favicon"]
        page.driver.get(f"http://127.0.0.1:{other.server_port}/index.html")
        script = """
            return fetch(arguments[0], { credentials: 'include' }).then(answer => answer.text(), () => 'refused');
        """
        answer = page.run(script, f"{server.origin}/api/recordings")
        other.shutdown()
    assert answer == "refused"


def test_everything_is_reached_with_the_keyboard(page, serve):
    page.open(serve(record()))
    page.row("x")
    page.press("/", "x", "ARROW_DOWN")
    assert page.run("return document.activeElement.id") == "tree"
    page.wait(lambda: page.keys() == ["x"])
    page.press("ENTER")
    page.wait(page.panels)
    page.settle()
    # Move to the plot, past the buttons and lists of the panel.
    for _ in range(30):
        page.press("TAB")
        if page.run("return document.activeElement.className") == "plot":
            break
    assert page.run("return document.activeElement.className") == "plot"
    page.press("+")
    page.wait(lambda: "from=2.25&to=6.75" in page.fragment)
    page.press("ARROW_RIGHT")
    page.wait(lambda: "from=3.375" in page.fragment)
    page.press("0")
    page.wait(lambda: "from=" not in page.fragment)


def test_the_tree_is_walked_with_arrow_keys(page, serve):
    with simrecorder.create("run.mdb") as recorder:
        recorder.set("a/b/c", 1)
        recorder.set("d", 2)
    page.open(serve("run.mdb"))
    page.row("d")
    page.run("document.getElementById('tree').focus()")
    active = "return document.getElementById(document.getElementById('tree').getAttribute('aria-activedescendant')).dataset.key"
    assert page.run(active) == "a"
    if "a/b" in page.keys():
        page.press("ARROW_LEFT")
        page.wait(lambda: "a/b" not in page.keys())
    page.press("ARROW_RIGHT")
    page.wait(lambda: "a/b" in page.keys())
    page.press("ARROW_RIGHT")
    assert page.run(active) == "a/b"
    page.press("ARROW_LEFT", "ARROW_LEFT")
    page.wait(lambda: page.run(active) == "a")
    page.press("END")
    assert page.run(active) == "d"


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_into_the_window(page, serve, width):
    page.resize(width, 844)
    server = serve(record())
    page.open(server, "#show=lines&key=x&show=records&key=log&show=table&show=histogram&key=x&show=details&key=x")
    page.wait(lambda: len(page.panels()) == 5)
    page.settle()
    script = """
        const wide = [...document.querySelectorAll('body, main, .panel, .tools > *, #bar > *')];
        return wide.filter(it => it.getBoundingClientRect().right > innerWidth + 0.5).map(it => it.outerHTML.slice(0, 80));
    """
    assert page.run(script) == []
    assert page.run("return document.documentElement.scrollWidth") == width


def test_keys_open_and_close_on_a_narrow_window(page, serve):
    page.resize(390, 844)
    page.open(serve(record()))
    page.choose("x")
    assert not page.one("#side").is_displayed()
    page.button("Keys").click()
    page.wait(lambda: page.one("#side").is_displayed())
    assert page.one("#toggle").get_attribute("aria-expanded") == "true"


def test_everything_that_is_used_has_a_name(page, serve):
    page.open(serve(record()), "#show=lines&key=x&show=records&key=log&show=table&show=details&key=x")
    page.wait(lambda: len(page.panels()) == 4)
    page.settle()
    nodes = page.command("Accessibility.getFullAXTree")["nodes"]
    used = {"button", "combobox", "textbox", "searchbox", "slider", "tree", "treeitem", "region", "navigation", "log"}
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in used
    ]
    assert {"button", "combobox", "searchbox", "tree", "treeitem"} <= {role for role, _ in named}
    assert [role for role, name in named if not name.strip()] == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_of_text_have_contrast(page, serve, theme):
    page.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
    page.open(serve(record()))
    script = """
        const style = getComputedStyle(document.documentElement);
        return Object.fromEntries(arguments[0].map(name => [name, style.getPropertyValue(`--${name}`).trim()]));
    """
    texts = ["text", "quiet", "good", "warn", "alarm", "mark"]
    colours = page.run(script, [*texts, "ground", "raised", "hover", "on-mark"])

    def light(colour):
        parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    def contrast(one, other):
        low, high = sorted([light(colours[one]), light(colours[other])])
        return (high + 0.05) / (low + 0.05)

    poor = [(text, ground) for text in texts for ground in ("ground", "raised") if contrast(text, ground) < 4.5]
    assert poor == []
    assert contrast("quiet", "hover") >= 4.5 and contrast("on-mark", "mark") >= 4.5


def test_the_theme_is_that_of_the_system_until_it_is_switched(page, serve):
    server = serve(record())
    page.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    page.open(server, "#show=lines&key=x")
    ground = "return getComputedStyle(document.documentElement).backgroundColor"
    dark = page.run(ground)
    page.button("Dark theme").click()
    page.wait(lambda: page.run(ground) == "rgb(255, 255, 255)")
    assert dark != "rgb(255, 255, 255)"
    page.run("location.reload()")
    page.wait(page.panels)
    page.wait(lambda: page.run(ground) == "rgb(255, 255, 255)")
    page.run("localStorage.clear()")


def test_a_panel_shows_the_error_of_its_data(page, serve):
    page.expected = ["404", "400"]
    page.open(serve(record()), "#show=lines&key=missing&show=lines&key=x")
    page.wait(lambda: len(page.panels()) == 2)
    page.wait(lambda: "missing" in page.text(".error"))
    assert "10 of 10 points" in page.note(1)
