"""The examples in the documentation run."""

import doctest
import inspect
import json
import os
import re
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


REPOSITORY = Path(__file__).parents[2]


def programs(document):
    return re.findall(r"^```python\n(.*?)^```", (REPOSITORY / document).read_text(), re.DOTALL | re.MULTILINE)


def test_the_programs_of_the_documents_run_in_their_order():
    found = programs("docs/python.md")
    names = {}
    for program in found:
        exec(compile(program, "docs/python.md", "exec"), names)
    assert len(found) >= 10 and names["dataset"].v.shape == (10, 3)


@pytest.mark.parametrize("document", ["README.md", "simrecorder-python/README.md"])
def test_the_programs_of_the_readme_run(document):
    found = [program for program in programs(document) if "simrecorder." in program or "from simrecorder " in program]
    assert found
    for number, program in enumerate(found):
        program = program.replace("~/output", "output")
        os.makedirs(str(number))
        os.chdir(str(number))
        exec(compile(program, document, "exec"), {"np": np})
        os.chdir("..")


def test_the_notebook_runs():
    cells = json.loads((REPOSITORY / "docs/simrecorder.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    names = {}
    for source in code:
        exec(compile(source, "simrecorder.ipynb", "exec"), names)
    assert len(code) > 4 and names["dataset"].rate.shape == names["rate"].shape


def test_there_are_examples():
    assert len(ITEMS) > 8


def test_every_public_name_is_documented():
    assert [name for name in simrecorder.__all__ if name != "__version__" and not inspect.getdoc(getattr(simrecorder, name))] == []
    for one in (simrecorder.Recorder, simrecorder.View, simrecorder.Timeline):
        public = [name for name in vars(one) if not name.startswith("_")]
        assert [name for name in public if not inspect.getdoc(getattr(one, name))] == []
