"""The examples in the documentation run."""

import doctest
import inspect
from pathlib import Path

import numpy as np
import pytest

import simrecorder
import simrecorder._tools

OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
GLOBALS = {"np": np, "numpy": np, "simrecorder": simrecorder, "Recorder": simrecorder.Recorder}

_NAMED = [getattr(simrecorder, name) for name in simrecorder.__all__]
_MEMBERS = [member for item in _NAMED if inspect.isclass(item) for member in vars(item).values()]
ITEMS = [item for item in [simrecorder, *_NAMED, *_MEMBERS] if ">>>" in (inspect.getdoc(item) or "")]


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: getattr(item, "__qualname__", item.__name__))
def test_examples_in_the_documentation_run(item):
    parser = doctest.DocTestParser()
    test = parser.get_doctest(inspect.getdoc(item), dict(GLOBALS), item.__name__, None, None)
    output = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=output.append)
    assert not output, "".join(output)


def test_there_are_examples():
    assert len(ITEMS) > 8


def test_every_public_name_is_documented():
    assert [name for name in simrecorder.__all__ if name != "__version__" and not inspect.getdoc(getattr(simrecorder, name))] == []
    for one in (simrecorder.Recorder, simrecorder.View, simrecorder.Timeline):
        public = [name for name in vars(one) if not name.startswith("_")]
        assert [name for name in public if not inspect.getdoc(getattr(one, name))] == []
