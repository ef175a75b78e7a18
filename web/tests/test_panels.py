"""The page with finished recordings: keys, each kind of panel, zooming, links."""

import numpy as np
import pytest
import simrecorder
from selenium.webdriver.common.keys import Keys

BLUE = (0x00, 0x72, 0xB2)
DEVIATING = 123_456


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A recording with a series of each kind."""
    path = str(tmp_path_factory.mktemp("recordings") / "run.mdb")
    random = np.random.default_rng(1)
    with simrecorder.create(path) as recorder:
        recorder.set("meta/seed", 42)
        recorder.set("meta/parameters", {"neurons": 100, "model": "test"})
        with recorder.timeline("net", "time", units="ms") as net:
            for step in range(300):
                net.advance(step * 0.5)
                net.record("rate", float(step % 50))
                net.record("rate2", float(step % 40))
                net.record("v", np.sin(np.arange(100) * 0.1 + step * 0.05))
                net.record("few", np.array([step, 2.0 * step, 3.0 * step]))
                net.record("spikes", simrecorder.Ragged(random.choice(100, 5, replace=False).astype(np.uint16)))
        for step in range(20):
            recorder.record("image", np.full((12, 16), step / 20) + np.eye(12, 16))
            recorder.record("photo", np.full((8, 8, 3), step * 10, np.uint8))
            recorder.record("volume", np.arange(4 * 5 * 6, dtype=float).reshape(4, 5, 6) + step)
            recorder.record("objects", {"step": step})
        for step in range(1000):
            recorder.record("log", f"step {step}" + (" is special" if step == 7 else ""))
        for step in range(100):
            recorder.record("loss", float("nan") if step == 60 else 1.0 / (step + 1))
    return path


@pytest.fixture(scope="module")
def million(tmp_path_factory):
    """A million records with one outlier."""
    path = str(tmp_path_factory.mktemp("recordings") / "million.mdb")
    with simrecorder.create(path) as recorder:
        x = recorder.declare("x", "float64", [])
        values = np.sin(np.arange(1_000_000) * 0.001)
        values[DEVIATING] = 5.0
        for value in values.tolist():
            recorder.record("x", value)
    return path


def test_the_page_lists_the_keys_of_a_recording(page, serve, recording):
    page.open(serve(recording))
    page.row("net/rate")
    assert {"meta", "meta/seed", "net", "net/rate", "net/v", "log", "image"} <= set(page.keys())
    page.wait(lambda: "42" in page.row("meta/seed").text)
    page.wait(lambda: "100" in page.row("net/v").text)
    page.wait(lambda: page.row("net/rate").find_elements("css selector", ".spark path"))
    assert "run.mdb" in page.text("#recordings")
    page.wait_text("#recordings", "ended")


def test_search_finds_keys_and_marks_what_was_searched(page, serve, recording):
    page.open(serve(recording))
    page.one("#search").send_keys("RATE")
    page.wait(lambda: page.keys() == ["net/rate", "net/rate2"])
    assert page.texts("#tree mark") == ["rate", "rate"]
    page.wait_text("#found", "2 keys")
    page.type_over(page.one("#search"), Keys.BACKSPACE)
    page.wait(lambda: "meta/seed" in page.keys())


def test_a_tree_of_many_keys_has_few_rows_at_a_time(page, serve):
    with simrecorder.create("many.mdb") as recorder:
        for number in range(20_000):
            recorder.set(f"all/value{number}", number)
    page.open(serve("many.mdb"))
    if "all/value0" not in page.keys():
        page.row("all").click()
    page.wait(lambda: "all/value0" in page.keys())
    assert len(page.keys()) < 100
    page.run("const tree = document.getElementById('tree'); tree.scrollTop = tree.scrollHeight")
    page.wait(lambda: "all/value19999" in page.keys())
    assert len(page.keys()) < 100
    page.one("#search").send_keys("value777")
    page.wait(lambda: "all/value7770" in page.keys())
    page.wait_text("#found", "11 keys")


@pytest.mark.parametrize(
    "key, form, note",
    [
        ("net/rate", "lines", "300 of 300 points"),
        ("net/few", "lines", "900 of 900 points"),
        ("net/v", "heat-map", "of 30 000 elements"),
        ("image", "image", "192 of 192 elements"),
        ("photo", "image", "64 of 64 pixels"),
        ("volume", "image", "30 of 30 elements"),
        ("net/spikes", "raster", "of 1 500 events"),
        ("log", "records", "200 of 1 000 records"),
        ("objects", "records", "20 of 20 records"),
        ("meta/parameters", "details", ""),
    ],
)
def test_a_click_on_a_key_adds_the_panel_that_suits_it(page, serve, recording, key, form, note):
    page.open(serve(recording))
    panel = page.choose(key)
    assert panel.get_attribute("data-form") == form
    assert note in page.note()
    assert page.text(".error") == ""
    if form in ("lines", "heat-map", "image", "raster"):
        pixels = page.canvas()
        assert len(np.unique(pixels.reshape(-1, 4), axis=0)) > 3
    assert f"key={key}" in page.fragment


def test_a_series_of_arrays_is_shown_as_traces_of_chosen_elements(page, serve, recording):
    page.open(serve(recording))
    page.choose("net/v")
    page.select("Form", "Lines")
    assert "0, 25, 50, 75" == page.one(".elements").get_attribute("value")
    page.type_over(page.one(".elements"), "3, 7-8")
    page.press("TAB")
    page.wait(lambda: "900 of 900 points" in page.note())
    assert "key=net/v[:,+3]&key=net/v[:,+7]&key=net/v[:,+8]" in page.fragment
    page.select("Form", "Raster")
    assert "events" in page.note()


def test_an_image_has_a_slider_and_plays_to_the_last_record(page, serve, recording):
    page.open(serve(recording))
    page.choose("image")
    page.wait_text(".position", "record 19 of 20")
    slider = page.one(".player input")
    page.run("arguments[0].value = 4; arguments[0].dispatchEvent(new Event('input'))", slider)
    page.wait_text(".position", "record 4 of 20")
    assert "record=4" in page.fragment
    page.button("Play").click()
    page.wait_text(".position", "record 19 of 20")
    page.wait(lambda: page.button("Play"))
    assert "record=" not in page.fragment


def test_the_scale_of_colours_is_held_while_another_record_is_shown(page, serve, recording):
    page.open(serve(recording))
    page.choose("image")
    page.button("hold scale", 0).click()
    page.wait(lambda: "low=0.95&high=1.95" in page.fragment)
    page.settle()
    before = page.canvas()
    slider = page.one(".player input")
    page.run("arguments[0].value = 0; arguments[0].dispatchEvent(new Event('input'))", slider)
    page.wait_text(".position", "record 0 of 20")
    page.settle()
    # On its own, it would look the same: all records are 1 brighter along the diagonal.
    assert page.text(".error") == ""
    assert np.any(page.canvas() != before)


def test_records_of_three_dimensions_are_shown_in_slices(page, serve, recording):
    page.open(serve(recording))
    page.choose("volume")
    page.select("Axis of the slice", "Axis 2 (6)")
    page.wait(lambda: "20 of 20 elements" in page.note())
    page.run(
        "arguments[0].value = 1; arguments[0].dispatchEvent(new Event('input'))",
        page.one("input[aria-label='Position of the slice']"),
    )
    page.wait(lambda: "axis=2&slice=1" in page.fragment)
    page.settle()
    assert page.text(".error") == ""


def test_a_histogram_counts_all_numbers(page, serve, recording):
    page.open(serve(recording))
    page.choose("net/rate")
    page.select("Form", "Histogram")
    assert "300 of 300 elements" in page.note()


def test_a_log_has_its_tail_and_is_searched(page, serve, recording):
    page.open(serve(recording))
    page.choose("log")
    assert "step 999" in page.texts(".record")[-1]
    page.button("Earlier").click()
    page.wait(lambda: "step 799" in page.texts(".record")[-1])
    page.button("Newest").click()
    page.wait(lambda: "step 999" in page.texts(".record")[-1])
    page.one(".tools input[type=search]").send_keys("SPECIAL")
    page.wait(lambda: [line.split("step")[1] for line in page.texts(".record")] == [" 7 is special"])
    assert page.text(".record mark") == "special"


def test_details_are_the_type_the_units_and_the_attributes(page, serve, recording):
    page.open(serve(recording))
    page.choose("net/rate")
    page.select("Form", "Details")
    details = page.text(".details")
    for part in ("float64", "300", "time, from 0 to 149.5"):
        assert part in details


def test_the_table_has_the_last_values_of_all_scalars(page, serve, recording):
    page.open(serve(recording))
    page.button("Last values").click()
    page.settle()
    rows = dict(zip(page.texts(".table tbody th"), page.texts(".table tbody tr"), strict=True))
    assert set(rows) >= {"net/rate", "net/rate2", "loss"}
    assert "49" in rows["net/rate"] and "149.5" in rows["net/rate"]
    page.one(".tools input[type=search]").send_keys("loss")
    page.wait(lambda: len(page.all(".table tbody tr")) == 1)


def test_a_series_is_added_to_the_selected_plot(page, serve, recording):
    page.open(serve(recording))
    page.choose("net/rate")
    page.shift_click("net/rate2")
    page.wait(lambda: "600 of 600 points" in page.note())
    assert len(page.panels()) == 1
    assert page.text(".u-legend").count("net/rate") == 2


def test_recordings_are_overlaid(page, serve, recording):
    with simrecorder.create("other.mdb") as recorder:
        with recorder.timeline("net", "time", units="ms") as net:
            for step in range(50):
                net.advance(float(step))
                net.record("rate", 10.0)
    page.open(serve(recording, "other.mdb"))
    rows = page.wait(lambda: [row for row in page.all("[role=treeitem]") if row.get_attribute("data-key") == "net/rate"])
    assert len(rows) == 2
    rows[0].click()
    page.wait(page.panels)
    page.button("other.mdb", 0).click()
    page.wait(lambda: "350 of 350 points" in page.note())
    assert "run.mdb: net/rate" in page.text(".u-legend") and "other.mdb: net/rate" in page.text(".u-legend")


def test_zooming_asks_again_down_to_single_records(page, serve, million):
    page.open(serve(million))
    page.choose("x")
    assert "of 1 000 000 points" in page.note()
    assert not page.note().startswith("1 000 000 of")
    for _ in range(12):
        page.drag(0.5, 0.75)
        if page.note().split(" of ")[0] == page.note().split(" of ")[1].split(" points")[0]:
            break
    drawn, total = page.note().split(" points")[0].split(" of ")
    assert drawn == total
    page.double_click()
    page.wait(lambda: "of 1 000 000 points" in page.note())
    assert "from=" not in page.fragment


@pytest.mark.parametrize("key, total", [("net/v", "30 000 elements"), ("net/spikes", "1 500 events")])
def test_a_heat_map_and_a_raster_zoom_as_lines_do(page, serve, recording, key, total):
    page.open(serve(recording))
    page.choose(key)
    assert f"of {total}" in page.note()
    page.drag(0.5, 0.75)
    page.wait(lambda: "from=" in page.fragment and f"of {total}" not in page.note())
    page.double_click()
    page.wait(lambda: f"of {total}" in page.note())


@pytest.mark.parametrize("start, end", [(0, 999_999), (100_000, 200_000), (123_000, 124_000), (123_450, 123_460)])
def test_one_record_that_deviates_among_a_million_is_in_its_column(page, serve, million, start, end):
    zoom = "" if start == 0 else f"&from={start}&to={end}"
    page.open(serve(million), f"#show=lines&key=x&wide=1{zoom}")
    inked = page.inked(BLUE)
    height, width = inked.shape
    values = np.sin(np.arange(start, end + 1) * 0.001)
    values[DEVIATING - start] = 5.0
    # The place where NumPy finds the largest of these records.
    column = np.argmax(values) / (end - start) * width
    top = np.argmax(inked.any(axis=1))
    peak = np.flatnonzero(inked[top : top + 3].any(axis=0))
    assert np.abs(peak - column).min() <= 1.5
    assert np.ptp(peak) <= 4
    # All the others are below, at most as high as the sine.
    others = inked.copy()
    reach = max(3, 2 * width / (end - start + 1))
    others[:, max(int(column - reach), 0) : int(column + reach) + 1] = False
    assert np.argmax(others.any(axis=1)) > height * 0.4


def test_numbers_that_are_not_finite_are_marked(page, serve, recording):
    page.open(serve(recording))
    panel = page.choose("loss")
    page.wait(lambda: panel.find_element("css selector", "header .alarm").text == "NaN")
    alarm = page.inked((0xB3, 0x26, 0x1E))
    height, width = alarm.shape
    assert np.abs(np.flatnonzero(alarm.any(axis=0)).mean() - 60 / 99 * width) < 3


def test_smoothing_is_drawn_over_the_records_and_labelled(page, serve, recording):
    page.open(serve(recording))
    page.choose("net/rate")
    page.select("Smoothing", "Mean, 10 %")
    page.wait(lambda: "moving mean" in page.note())
    assert "thick: moving mean over 14.9 ms; thin: the records" in page.note()
    assert "net/rate, mean" in page.text(".u-legend")
    assert "smooth=10" in page.fragment


def test_a_logarithmic_axis_leaves_out_what_is_not_above_zero(page, serve, recording):
    page.open(serve(recording))
    page.choose("net/rate")
    page.button("log", 0).click()
    page.wait(lambda: "294 of 300 points" in page.note())


def test_a_link_shows_the_same_view(page, serve, recording):
    server = serve(recording)
    page.open(server)
    page.choose("net/rate")
    page.drag(0.25, 0.5)
    page.choose("image")
    page.button("Last values").click()
    page.settle()
    fragment = page.run("return location.hash")
    notes = [page.note(panel) for panel in range(3)]
    page.open(server, fragment)
    page.wait(lambda: len(page.panels()) == 3)
    assert [page.note(panel) for panel in range(3)] == notes
    assert page.run("return location.hash") == fragment


def test_the_browser_goes_back_to_the_panels_before(page, serve, recording):
    page.open(serve(recording))
    page.choose("net/rate")
    page.choose("image")
    page.button("Close", 0).click()
    page.wait(lambda: len(page.panels()) == 1)
    page.driver.back()
    page.wait(lambda: len(page.panels()) == 2)
    page.settle()


def test_panels_are_moved_and_widened(page, serve, recording):
    page.open(serve(recording))
    page.choose("net/rate")
    page.choose("image")
    page.button("Move up", 1).click()
    page.wait(lambda: [it.get_attribute("data-form") for it in page.panels()] == ["image", "lines"])
    before = page.canvas(1).shape[1]
    page.button("Whole width", 1).click()
    page.wait(lambda: page.canvas(1).shape[1] > before * 1.5)
    assert "wide=1" in page.fragment
