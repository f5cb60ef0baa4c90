"""
Which door a path leads to.
"""

from __future__ import annotations

import pytest

from runnables.paths import RESERVED
from runnables.routing import Match, match

RUN = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/joke/invoke", Match("joke", "invoke")),
        ("/joke/invoke/", Match("joke", "invoke")),
        ("joke/batch", Match("joke", "batch")),
        ("/a/b/stream", Match("a/b", "stream")),
        ("/invoke", Match("", "invoke")),
        ("/stream_events/", Match("", "stream_events")),
        ("/joke/astream_events", Match("joke", "stream_events")),
        ("/joke/input_schema", Match("joke", "input_schema")),
        ("/joke/output_schema/", Match("joke", "output_schema")),
        ("/joke/config_schema", Match("joke", "config_schema")),
        ("/joke/c/abc/invoke", Match("joke", "invoke", "abc")),
        ("/joke/c/a+b-$/stream/", Match("joke", "stream", "a+b-$")),
        ("/a/b/c/abc/config_schema", Match("a/b", "config_schema", "abc")),
        ("/c/abc/invoke", Match("", "invoke", "abc")),
        ("/joke/c//invoke", Match("joke", "invoke", "")),
        ("/c/c/c/invoke", Match("c", "invoke", "c")),
        (f"/joke/runs/{RUN}/cancel", Match("joke", "cancel", run_id=RUN)),
        (f"/a/b/runs/{RUN}/cancel/", Match("a/b", "cancel", run_id=RUN)),
        ("/magic/invoke", Match("magic", "invoke")),
        ("/administrator/invoke", Match("administrator", "invoke")),
    ],
)
def test_doors(path: str, expected: Match) -> None:
    assert match(path) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/joke",
        "/joke/",
        "/joke/invoke/more",
        "/joke/Invoke",
        "/joke/playground/",
        "/joke/cancel",
        "/joke/invoker",
        f"/joke/runs/{RUN}",
        "/admin/login/",
        *(f"/{word}/invoke" for word in sorted(RESERVED - {"runs"})),
    ],
)
def test_everything_else_is_not_ours(path: str) -> None:
    assert match(path) is None


def test_run_at_the_root_can_be_cancelled() -> None:
    assert match(f"/runs/{RUN}/cancel") == Match("", "cancel", run_id=RUN)
