import assert from "node:assert/strict";
import { test } from "node:test";
import { address, type Node } from "../src/api.ts";
import { formsOf, imageKey, traceKeys, traceList } from "../src/forms.ts";
import { sparkPath } from "../src/icons.ts";
import { count, digitsFor, number, short, ticks } from "../src/numbers.ts";
import { columnsOf, smoothed } from "../src/points.ts";
import { moved, pressed, rounded, zoomed } from "../src/range.ts";
import { stateOf } from "../src/state.ts";
import { foundRows, TreeModel } from "../src/tree-model.ts";
import { format, keyOf, parse, type View } from "../src/view.ts";

const series = (record_kind: string, dtype: string, shape: number[]): Node => ({
  key: "a/b",
  kind: "series",
  record_kind,
  dtype,
  shape,
});

test("a view is the same after it was in an address", () => {
  const views: View[] = [
    {
      form: "lines",
      recordings: [0, 1],
      keys: ["net/v[:, 3]", "net/rate"],
      from: -1.5,
      to: 1e300,
      log: true,
      smooth: 3,
      wide: true,
    },
    {
      form: "image",
      recordings: [1],
      keys: ["a&show=table#%é\u202e<img>"],
      record: 12,
      axis: 2,
      slice: 0,
      low: -1,
      high: 2,
      index: true,
    },
    { form: "records", recordings: [0], keys: ["log"], text: "a=b&c" },
    { form: "table", recordings: [0], keys: [] },
  ];
  assert.deepEqual(parse(format(views)), views);
  assert.equal(format([]), "");
  assert.equal(
    format([{ form: "lines", recordings: [0], keys: ["net/v[:, 3]"] }]),
    "#show=lines&key=net/v[:,+3]",
  );
});

test("what is malformed in an address is left out", () => {
  assert.deepEqual(parse("#key=a&show=nonsense&key=b"), []);
  assert.deepEqual(parse("#show=lines"), []);
  assert.deepEqual(parse("#%"), []);
  const [view] = parse(
    "#show=lines&key=a&from=NaN&to=&smooth=x&recording=-1&recording=1.5&record=Infinity&unknown=1",
  );
  assert.deepEqual(view, { form: "lines", recordings: [0], keys: ["a"] });
  assert.equal(parse("#" + "show=table&".repeat(1000)).length, 100);
});

test("a selection is no part of a key", () => {
  assert.equal(keyOf("net/v[:, 3]"), "net/v");
  assert.equal(keyOf("net/v"), "net/v");
  assert.equal(keyOf("a[0]/b"), "a[0]/b");
});

test("each kind of series has its forms", () => {
  assert.equal(formsOf(series("array", "float64", [9]))[0], "lines");
  assert.equal(formsOf(series("array", "float64", [9, 3]))[0], "lines");
  assert.equal(formsOf(series("array", "float64", [9, 100]))[0], "heat-map");
  assert.equal(formsOf(series("array", "float64", [9, 100, 100]))[0], "image");
  assert.equal(formsOf(series("array", "uint8", [9, 100, 100, 3]))[0], "image");
  assert.equal(formsOf(series("ragged", "uint32", [9]))[0], "raster");
  assert.equal(formsOf(series("text", "", [9]))[0], "records");
  assert.equal(formsOf(series("array", "complex128", [9]))[0], "records");
  assert.deepEqual(formsOf({ key: "a", kind: "value" }), ["details"]);
});

test("the key of an image selects its record and slice", () => {
  const view: View = { form: "image", recordings: [0], keys: ["a/b"] };
  assert.equal(imageKey(series("array", "float64", [9, 4, 5]), view), "a/b[8]");
  assert.equal(imageKey(series("array", "float64", [9, 4, 5]), { ...view, record: 2 }), "a/b[2]");
  assert.equal(imageKey(series("array", "float64", [9, 4, 5]), { ...view, record: 20 }), "a/b[8]");
  assert.equal(imageKey(series("array", "float64", [9, 4, 5, 6]), { ...view, axis: 1 }), "a/b[8, :, 2, :]");
  assert.equal(imageKey(series("array", "uint8", [9, 4, 5, 3]), { ...view, axis: 1 }), "a/b[8]");
});

test("a list of elements names traces", () => {
  assert.deepEqual(traceKeys("v", "3, 7-8,3", 10), ["v[:, 3]", "v[:, 7]", "v[:, 8]"]);
  assert.equal(traceList(["v[:, 3]", "v[:, 7]"]), "3, 7");
  for (const list of ["10", "2-1", "x", "-1", "1.5", "0-99"])
    assert.equal(traceKeys("v", list, 10), undefined);
  assert.equal(traceKeys("v", "0-64", 1000), undefined);
  assert.deepEqual(traceKeys("v", " ", 10), []);
});

test("numbers are short", () => {
  assert.equal(number(0.1 + 0.2), "0.3");
  assert.equal(number(-1.5e-7), "−1.5e−7");
  assert.equal(number(1e21), "1e21");
  assert.equal(number(NaN), "NaN");
  assert.equal(count(1234567), "1\u202f234\u202f567");
  assert.equal(digitsFor(1e6, 1e6 + 1), 10);
  assert.equal(short({ a: [1, "b", null] }), '{"a": [1, "b", null]}');
  assert.equal(short("x".repeat(99)).length, 60);
});

test("ticks are round, and within the axis", () => {
  assert.deepEqual(ticks(0, 1, 5), [0, 0.2, 0.4, 0.6000000000000001, 0.8, 1]);
  assert.deepEqual(ticks(5, -5, 4), [-5, 0, 5]);
  assert.deepEqual(ticks(-0.3, 0.3, 3), [-0.2, 0, 0.2]);
  for (const [start, end] of [
    [0, 0],
    [1e300, 1e300],
    [0, Infinity],
    [NaN, 1],
    [1e16, 1e16 + 2],
  ] as const) {
    assert.ok(ticks(start, end, 5).length <= 12, `${start} to ${end}`);
  }
});

test("the points of a pixel column are in ascending order, and keep all their numbers", () => {
  const line = {
    label: "a",
    parts: [
      [
        [1, 5],
        [1, 0],
        [1, 9],
        [1, 6],
        [2, 6],
      ],
      [[4, 1]],
    ] as [number, number][][],
  };
  const [xs, ys] = columnsOf(line, 0, 10);
  assert.deepEqual(ys, [5, 0, 9, 6, 6, null, 1]);
  assert.ok(xs.every((x, index) => index === 0 || x > (xs[index - 1] as number)));
  assert.ok(Math.abs((xs[3] as number) - 1) < 1e-4);
});

test("points stay in ascending order where numbers are large", () => {
  const [xs] = columnsOf(
    {
      label: "a",
      parts: [
        [
          [1e15, 1],
          [1e15, 2],
          [1e15, 3],
        ],
      ],
    },
    1e15,
    1e15 + 1,
  );
  assert.ok(xs.every((x, index) => index === 0 || x > (xs[index - 1] as number)));
});

test("smoothing is the mean over a window, and does not cross gaps", () => {
  const ramp = Array.from({ length: 11 }, (_, x): [number, number] => [x, x]);
  const { parts } = smoothed({ label: "a", parts: [ramp, [[20, 7]]] }, 4);
  assert.deepEqual(parts[0]?.[5], [5, 5]);
  assert.deepEqual(parts[0]?.[0], [0, 1]);
  assert.deepEqual(parts[1], [[20, 7]]);
});

test("smoothing averages the first and the last record of a pixel column, not its extremes", () => {
  const { parts } = smoothed(
    {
      label: "a",
      parts: [
        [
          [1, 2],
          [1, -1000],
          [1, 900],
          [1, 4],
        ],
      ],
    },
    1,
  );
  assert.deepEqual(parts, [[[1, 3]]]);
});

test("zooming and moving stay within the whole", () => {
  assert.deepEqual(zoomed([0, 100], 0.5, [0, 100]), [25, 75]);
  assert.equal(zoomed([25, 75], 2, [0, 100]), undefined);
  assert.deepEqual(moved([0, 50], -0.25, [0, 100]), [0, 50]);
  assert.deepEqual(moved([0, 50], 0.25, [0, 100]), [12.5, 62.5]);
  assert.deepEqual(moved([45, 95], 0.25, [0, 100]), [50, 100]);
  assert.equal(pressed("0", [1, 2], [0, 10]), undefined);
  assert.equal(pressed("a", [1, 2], [0, 10]), null);
});

test("a range in an address has few digits, and is never empty", () => {
  assert.deepEqual(rounded([2692.2371967654985, 5384.474393530997]), [2692.2, 5384.5]);
  assert.deepEqual(rounded([0.1234567891, 0.1234567892]), [0.1234567891, 0.1234567892]);
  assert.deepEqual(rounded([1e15, 1e15 + 1]), [1e15, 1e15 + 1]);
  assert.deepEqual(rounded([-1e300, 1e300]), [-1e300, 1e300]);
});

test("a quiet simulation is stalled only while it records", () => {
  assert.equal(stateOf("recording", 0).name, "recording");
  assert.deepEqual(stateOf("recording", 130_000), { word: "stalled: no news for 2 min", name: "stalled" });
  assert.equal(stateOf("ended", 1e9).name, "ended");
  assert.equal(stateOf("killed", 1e9).name, "killed");
  assert.equal(stateOf({ error: "gone" }, 0).word, "gone");
});

test("the rows of a tree are those of open groups", () => {
  const model = new TreeModel(["run"]);
  model.setChildren(0, "", [
    ["net", "group"],
    ["seed", "value"],
  ]);
  model.setChildren(0, "net", [["net/rate", "series"]]);
  assert.deepEqual(
    model.rows().map((row) => row.name),
    ["net", "seed"],
  );
  model.setOpen(0, "net", true);
  const rows = model.rows();
  assert.deepEqual(
    rows.map((row) => [row.name, row.depth, row.place, row.siblings]),
    [
      ["net", 0, 1, 2],
      ["rate", 1, 1, 1],
      ["seed", 0, 2, 2],
    ],
  );
  const two = new TreeModel(["a", "b"]);
  two.setChildren(1, "", [["x", "series"]]);
  assert.deepEqual(
    two.rows().map((row) => row.name),
    ["a", "b", "x"],
  );
  assert.deepEqual(
    foundRows([[["x", "series"]], [["x", "series"]]], ["a", "b"]).map((row) => row.name),
    ["a: x", "b: x"],
  );
});

test("a sparkline has a gap where there are no numbers, and no height where they are equal", () => {
  const path = sparkPath({ key: "a", min: [1, null, 3], max: [1, null, 3], last: 3, nan: 0 });
  assert.equal(path.match(/M/g)?.length, 2);
  assert.equal(sparkPath({ key: "a", min: [null], max: [null], last: null, nan: 1 }), "");
  assert.match(
    sparkPath({ key: "a", min: [2, 2], max: [2, 2], last: 2, nan: 0 }),
    /^M0\.0 8\.0h0\.1L56\.0 8\.0$/,
  );
});

test("an address has each element of a list, and nothing of what is not asked for", () => {
  assert.equal(
    address("figure", { key: ["a b", "c&d"], from: undefined, log: false, index: true }),
    "/api/figure?key=a+b&key=c%26d&index=1",
  );
});
