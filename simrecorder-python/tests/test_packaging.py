"""The interpreters that the wheel supports."""

import importlib.metadata
import re

from packaging.tags import cpython_tags, parse_tag


def test_every_cpython_from_3_11_takes_the_wheel_and_no_free_threaded_build_does():
    wheel = importlib.metadata.distribution("simrecorder").read_text("WHEEL")
    tags = set().union(*map(parse_tag, re.findall(r"^Tag: (\S+)$", wheel, re.MULTILINE)))
    platforms = [tag.platform for tag in tags]

    def takes(minor, abi):
        return any(tag in tags for tag in cpython_tags((3, minor), [abi], platforms))

    assert [minor for minor in range(8, 16) if takes(minor, f"cp3{minor}")] == [11, 12, 13, 14, 15]
    assert not takes(13, "cp313t") and not takes(14, "cp314t")
