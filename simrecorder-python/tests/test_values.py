"""Recorded values are read unchanged; others raise an error that says what to do."""

import sys
import enum

import numpy as np
import pytest

from simrecorder import Ragged, Recorder, SchemaMismatchError


@pytest.fixture
def recorder():
    return Recorder("memory:")


def recorded(recorder, value):
    recorder.record("x", value)
    return recorder["x"][0]


@pytest.mark.parametrize(
    "dtype",
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128".split(),
)
def test_arrays_of_every_type_come_back(recorder, dtype):
    array = np.array([[0, 1, 2], [3, 4, 5]]).astype(dtype)
    read = recorded(recorder, array)
    assert read.dtype == dtype and np.array_equal(read, array)
    scalar = array[1, 2]
    recorder.record("scalar", scalar)
    assert recorder["scalar"][0] == scalar and recorder["scalar"].dtype == dtype


def test_bfloat16_round_trips(recorder):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    read = recorded(recorder, np.array([0.5, 1.5], dtype=bfloat16))
    assert read.dtype == bfloat16 and read.astype(float).tolist() == [0.5, 1.5]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24.0).reshape(4, 6)[:, ::2],
        np.arange(24.0).reshape(4, 6)[::-1],
        np.asfortranarray(np.arange(24.0).reshape(4, 6)),
        np.arange(24.0).reshape(4, 6).T,
        np.arange(24, dtype=">i4"),
        np.arange(6, dtype=">c16"),
        np.array(7.5, dtype=">f8"),
        np.broadcast_to(np.float32(0.5), (3, 2)),
        np.zeros((0, 3)),
        np.zeros((3, 0)),
        np.array(0.5),
        np.array([[1.0, 2.0]]).view(type("Subclass", (np.ndarray,), {})),
    ],
    ids=lambda array: f"{array.dtype}-{array.shape}",
)
def test_arrays_in_any_memory_layout_come_back(recorder, array):
    read = recorded(recorder, array)
    assert read.dtype == array.dtype.newbyteorder("=")
    assert np.array_equal(read, array) and np.shape(read) == array.shape


@pytest.mark.parametrize(
    ("array", "advice"),
    [
        (np.array(["2026-01-01"], dtype="datetime64[s]"), "astype\\('int64'\\)"),
        (np.array([1], dtype="timedelta64[s]"), "astype\\('int64'\\)"),
        (np.zeros(2, dtype=[("x", "f8"), ("y", "i4")]), "each field"),
        (np.array([None, {}], dtype=object), "tolist"),
        (np.array(["a", "bc"]), "tolist"),
        (np.ma.masked_array([1.0, 2.0], mask=[False, True]), "filled"),
        (np.zeros(2, dtype=np.longdouble), "astype"),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_arrays_that_cannot_be_recorded_say_what_to_do(recorder, array, advice):
    for call in (recorder.record, recorder.set):
        with pytest.raises(TypeError, match=f"'x'.*{advice}"):
            call("x", array)
    assert "x" not in recorder


def test_an_array_of_another_shape_or_type_is_an_error_and_changes_nothing(recorder):
    recorder.record("x", np.zeros(3))
    with pytest.raises(SchemaMismatchError, match="Ragged") as caught:
        recorder.record("x", np.zeros(4))
    assert isinstance(caught.value, (TypeError, ValueError)) and caught.value.key == "x"
    with pytest.raises(SchemaMismatchError):
        recorder.record("x", np.zeros(3, dtype=np.float32))
    with pytest.raises(SchemaMismatchError):
        recorder.record("x", "text")
    assert recorder["x"].shape == (1, 3)


def test_rows_of_different_length_are_ragged(recorder):
    rows = [np.zeros((2, 3)), np.zeros((0, 3)), np.ones((5, 3))]
    for row in rows:
        recorder.record("x", Ragged(row))
    assert recorder["x"].kind == "ragged" and recorder["x"].shape == (3,)
    assert all(np.array_equal(read, row) for read, row in zip(recorder["x"], rows))
    for row in ([3, 1], [], [4]):
        recorder.record("list", Ragged(row))
    assert [row.tolist() for row in recorder["list"]] == [[3, 1], [], [4]] and recorder["list"][1].dtype == np.int64
    with pytest.raises(TypeError, match="'y'"):
        recorder.record("y", Ragged([{}]))
    with pytest.raises(ValueError, match="at least one axis"):
        recorder.record("x", Ragged(np.float64(0.5)))


def test_objects_that_lend_arrays_are_recorded(recorder):
    class WithArray:
        def __array__(self, dtype=None, copy=None):
            return np.arange(3.0)

    class WithDlpack:
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **options):
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    for key, value in {
        "array": WithArray(),
        "dlpack": WithDlpack(np.arange(3.0)),
        "memory": memoryview(np.arange(3.0)),
    }.items():
        recorder.record(key, value)
        assert recorder[key][0].tolist() == [0.0, 1.0, 2.0]


def test_an_object_whose_array_fails_raises_its_own_error(recorder):
    class Failing:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("no array today")

    with pytest.raises(RuntimeError, match="no array today"):
        recorder.record("x", Failing())


def test_ints_up_to_64_bits_come_back_and_larger_ones_are_an_error(recorder):
    for key, number in {"a": 2**63 - 1, "b": -(2**63), "c": 2**63, "d": 2**64 - 1}.items():
        recorder.record(key, number)
        recorder.set(f"set/{key}", number)
        recorder.record(f"object/{key}", [number])
        assert int(recorder[key][0]) == number
        assert int(recorder[f"set/{key}"]) == number
        assert recorder[f"object/{key}"][0] == [number]
    assert recorder["a"].dtype == np.int64 and recorder["c"].dtype == np.uint64
    for number in (2**64, -(2**63) - 1, 2**200):
        for value in (number, [number]):
            with pytest.raises(ValueError, match="'x'.*64 bits"):
                recorder.record("x", value)


def test_an_int_is_recorded_as_the_numbers_of_its_series_if_it_is_one_of_them(recorder):
    for dtype in ("float64", "float32", "uint64", "int32", "uint8"):
        recorder.declare(dtype, dtype)
        recorder.record(dtype, 7)
        assert recorder[dtype][:].tolist() == [7]
    with pytest.raises(SchemaMismatchError):
        recorder.record("uint8", 256)
    with pytest.raises(SchemaMismatchError):
        recorder.record("uint8", -1)
    with pytest.raises(SchemaMismatchError):
        recorder.record("float64", 2**53 + 1)
    recorder.record("int", 1)
    with pytest.raises(SchemaMismatchError, match="begin with a float"):
        recorder.record("int", 0.5)


def test_subclasses_of_numbers_and_text_are_recorded_as_these(recorder):
    class Text(str):
        pass

    class Level(enum.IntEnum):
        HIGH = 3

    recorder.record("text", Text("a"))
    recorder.record(Text("text"), "b")
    recorder.record("level", Level.HIGH)
    recorder.record("bool", True)
    recorder.record("complex", 1 + 2j)
    assert recorder["text"][:] == ["a", "b"]
    assert recorder["level"][0] == 3 and recorder["level"].dtype == np.int64
    assert recorder["bool"].dtype == bool
    assert recorder["complex"][0] == 1 + 2j


def test_a_text_that_is_not_unicode_is_an_error(recorder):
    with pytest.raises(ValueError):
        recorder.record("x", "\ud800")
    with pytest.raises(ValueError):
        recorder.record("\ud800", 1)
    assert list(recorder) == []


OBJECTS = [
    None,
    [],
    {},
    [None, True, False, 0, -1, 2**40, 0.5, "text", b"bytes"],
    {"a": {"b": [1, {"c": None}]}, 1: "int", 0.5: "float", None: 0, b"x": 1},
    [float("inf"), -0.0],
    [np.float32(0.5), np.int8(-3), np.bool_(True)],
    [np.zeros((3, 1)), np.ones((4, 1)), np.array([])],
    ["a" * 100_000, b"b" * 100_000, list(range(100_000))],
]


@pytest.mark.parametrize("value", OBJECTS, ids=range(len(OBJECTS)))
def test_objects_come_back_as_recorded(recorder, value):
    read = recorded(recorder, value)
    assert_same(read, value)
    recorder.set("value", value)
    assert_same(recorder["value"], value)


def assert_same(read, value):
    if isinstance(value, (list, tuple)):
        assert isinstance(read, list) and len(read) == len(value)
        for one, other in zip(read, value):
            assert_same(one, other)
    elif isinstance(value, dict):
        assert list(read) == list(value)
        for key in value:
            assert_same(read[key], value[key])
    elif isinstance(value, (np.ndarray, np.generic)):
        assert read.dtype == value.dtype and np.array_equal(read, value)
    else:
        assert type(read) is type(value) and read == value


def test_tuples_come_back_as_lists_and_as_keys_of_dicts_as_tuples(recorder):
    assert recorded(recorder, (1, (2,))) == [1, [2]]
    recorder.record("x", {(1, 2): 3})
    assert recorder["x"][1] == {(1, 2): 3}


def test_nan_is_a_key_of_a_dict_like_any_other(recorder):
    read = recorded(recorder, {float("nan"): 1})
    assert list(read.values()) == [1] and np.isnan(next(iter(read)))


def test_objects_that_contain_themselves_or_are_too_deep_are_an_error(recorder):
    cycle = []
    cycle.append(cycle)
    deep = []
    for _ in range(sys.getrecursionlimit() * 2):
        deep = [deep]
    for value in (cycle, deep, {"a": cycle}):
        with pytest.raises(ValueError, match="'x'.*contains itself"):
            recorder.record("x", value)


@pytest.mark.parametrize("value", [{1, 2}, object(), print, range(3), [1, {2}], {"a": object}])
def test_other_objects_are_a_type_error_that_says_what_to_do(recorder, value):
    with pytest.raises(TypeError, match="'x'.*cannot be recorded; record numbers"):
        recorder.record("x", value)


def test_keys_are_checked(recorder):
    for key in ("", "a/../b", "\0"):
        with pytest.raises(ValueError):
            recorder.record(key, 1)
    for key in (7, b"x", None):
        with pytest.raises(TypeError, match="a key must be a str"):
            recorder.record(key, 1)
