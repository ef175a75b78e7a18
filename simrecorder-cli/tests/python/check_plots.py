"""Compares the pixels of plots with what NumPy computes from the data."""

import base64
import io
import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

folder = Path(sys.argv[1])
LINE = np.array([0x00, 0x72, 0xB2])
VIRIDIS_SCALE_X = 700  # within the colours of the scale, at 800 pixels width


def data(name):
    return np.load(folder / f"{name}.npy")


def pixels(name):
    return np.asarray(Image.open(folder / f"{name}.png").convert("RGB")).astype(int)


def is_near(image, colour, distance=40):
    return np.abs(image - colour).sum(axis=-1) < distance


def line_pixels(name):
    """The rows and columns of the pixels of a line; and those of the plot: the grid is lighter."""
    return np.nonzero(is_near(pixels(name), LINE))


# A line: of a million records one deviates, and its column is where numpy finds it.
deviating = data("deviating")
rows, columns = line_pixels("deviating")
width = columns.max() - columns.min()
expected = columns.min() + deviating.argmin() / (len(deviating) - 1) * width
lowest = columns[rows == rows.max()]
assert abs(lowest.mean() - expected) <= 1.5, (lowest, expected)
# Between the smallest and the largest of the others, every column is filled.
top, bottom = rows.min(), rows.max()
zero = top + (bottom - top) * (deviating.max() - 0) / (deviating.max() - deviating.min())
filled = [columns[(rows > top + 2) & (rows < zero - 2)]]
assert len(np.unique(filled)) >= width, "a column is empty"

# In SVG, too.
svg = ElementTree.parse(folder / "deviating.svg")
points = []
for line in svg.iter("{http://www.w3.org/2000/svg}polyline"):
    if line.get("stroke") == "#0072B2":
        points += [tuple(map(float, point.split(","))) for point in line.get("points").split()]
points = np.array(points)
x, y = points[points[:, 1].argmax()]
expected = points[:, 0].min() + deviating.argmin() / (len(deviating) - 1) * np.ptp(points[:, 0])
assert abs(x - expected) <= 1.5, (x, expected)

# A line over its coordinate, interrupted by NaN: each record is on it.
time, rate = data("net-time"), data("net-rate")
rows, columns = line_pixels("rate")
x = columns.min() + (time - time[0]) / (time[-1] - time[0]) * (columns.max() - columns.min())
low, high = np.nanmin(rate), np.nanmax(rate)
y = rows.max() - (rate - low) / (high - low) * (rows.max() - rows.min())
drawn = set(zip(rows, columns))
for row, column, number in zip(y, x, rate):
    if not np.isnan(number):
        near = {(int(row) + a, int(column) + b) for a in range(-3, 4) for b in range(-3, 4)}
        assert near & drawn, (row, column)
gap = (x[49] + x[51]) / 2
assert not np.any(np.abs(columns - gap) < 1), "NaN does not interrupt the line"


def check_cells(image, values, frame, x_edges, y_edges, scale):
    """Each cell of `values` has the colour of its number on the scale, from the top of it down."""
    left, right, top, bottom = frame
    low, high = np.nanmin(values), np.nanmax(values)
    for (row, column), value in np.ndenumerate(values):
        x = np.interp((x_edges[column] + x_edges[column + 1]) / 2, [x_edges[0], x_edges[-1]], [left, right])
        y = np.interp((y_edges[row] + y_edges[row + 1]) / 2, [y_edges[0], y_edges[-1]], [bottom, top])
        colour = image[int(y), int(x)]
        found = np.abs(scale - colour).sum(axis=1).argmin()
        number = high - found / (len(scale) - 1) * (high - low)
        assert abs(number - value) < 0.03 * (high - low), (row, column, number, value)


def frame_of_cells(image):
    """The pixels of cells, and the colours of the scale next to them, from top to bottom."""
    is_grey = np.ptp(image, axis=-1) < 12
    coloured = ~is_grey
    is_column = coloured.sum(axis=0) > 0.6 * coloured.sum(axis=0).max()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_column, [False]]).astype(int)))
    (left, right), (scale_left, scale_right) = edges.reshape(-1, 2)[[0, -1]]
    rows = np.flatnonzero(coloured[:, (scale_left + scale_right) // 2])
    scale = image[rows.min() : rows.max() + 1, (scale_left + scale_right) // 2]
    return (left, right, rows.min(), rows.max() + 1), scale


def edges_of(coordinate):
    middles = (coordinate[1:] + coordinate[:-1]) / 2
    first, last = coordinate[0] - (middles[0] - coordinate[0]), coordinate[-1] + (coordinate[-1] - middles[-1])
    return np.concatenate([[first], middles, [last]])


# A heat map of 200 records over their time; records that are narrower than two pixels share them.
image, v = pixels("v"), data("net-v")
frame, scale = frame_of_cells(image)
x_edges = edges_of(time)
wide = slice(100, None)
left, right, top, bottom = frame
left_of_wide = np.interp(x_edges[100], [x_edges[0], x_edges[-1]], [left, right])
assert (v.min(), v.max()) == (v[wide].min(), v[wide].max()) or np.isclose(np.ptp(v), np.ptp(v[wide]), rtol=0.01)
check_cells(image, v[wide].T, (left_of_wide, right, top, bottom), x_edges[100:], np.arange(13), scale)

# An image: the first row is at the top.
image, field = pixels("field"), data("field")[1]
frame, scale = frame_of_cells(image)
check_cells(image, field[::-1], frame, np.arange(41), np.arange(31), scale)
svg = ElementTree.parse(folder / "field.svg")
pictures = [image.get("href") for image in svg.iter("{http://www.w3.org/2000/svg}image")]
assert len(pictures) == 2, "the cells and their scale"
sizes = [Image.open(io.BytesIO(base64.b64decode(href.split(",")[1]))).size for href in pictures]
assert (frame[1] - frame[0], frame[3] - frame[2]) in sizes, (frame, sizes)

# A raster: each event is a dot, and nothing else is.
image = pixels("spikes")
dots = is_near(image, LINE)
rows, columns = np.nonzero(dots)
events = [(row["time"], spike) for row in map(json.loads, open(folder / "spikes.jsonl")) for spike in row["spikes"]]
times, spikes = np.array(events).T
# 30 rows of equal height, of which the first and the last have events.
height = (rows.max() + 1 - rows.min()) / 30
y = rows.max() + 1 - (spikes + 0.5) * height
x = columns.min() + (times - times[0]) / (times[-1] - times[0]) * (columns.max() - columns.min())
expected = set()
for row, column in zip(y, x):
    assert dots[int(row), int(column) - 1 : int(column) + 2].any(), (row, column)
    expected |= {(int(row), int(column) + shift) for shift in range(-2, 3)}
for row in np.unique(y.astype(int)):
    for column in np.flatnonzero(dots[row]):
        assert (row, column) in expected, (row, column)

# A histogram: the bars are as high as numpy counts.
counts, edges = np.histogram(v, bins=20)
rows, columns = line_pixels("histogram")
x = columns.min() + (edges[:-1] + edges[1:] - 2 * edges[0]) / 2 / np.ptp(edges) * np.ptp(columns)
ground, highest = rows.max(), rows.min()
for column, count in zip(x, counts):
    top = rows[np.abs(columns - column) < 2].min()
    assert abs((ground - top) / (ground - highest) - count / counts.max()) < 0.02, (column, count)

# Images are the records themselves.
for name in ["grey", "colours"]:
    assert np.array_equal(np.asarray(Image.open(folder / f"{name}.png")), data(name)[1]), name
assert np.array_equal(np.asarray(Image.open(folder / "deep.png")), data("deep")[1])
assert np.array_equal(np.asarray(Image.open(folder / "mask.png")) == 255, data("mask")[1])
