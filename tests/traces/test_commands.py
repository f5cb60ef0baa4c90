"""
manage.py traces: what it deletes, exports and prints, on terminals and in pipes, and its exit
codes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError, OutputWrapper
from django.db import connection
from django.utils import timezone

from feedback.models import Feedback, TraceLink
from runnables.management.progress import Progress
from runnables.models import AuditEntry, Deployment, Figures
from tests.conftest import Site
from tests.fakes import echo
from tests.live import ROOT
from tests.traces import rows
from traces import retention
from traces.models import Step, Trace, Tracing


class Terminal(StringIO):
    """
    Somebody looks at it, and may press Ctrl-C when they see a text.
    """

    def __init__(self, stop_at: str = "") -> None:
        super().__init__()
        self._stop_at = stop_at

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self._stop_at and self._stop_at in text:
            self._stop_at = ""
            os.kill(os.getpid(), signal.SIGINT)
        return super().write(text)


def run(*arguments: str, err: Any = None) -> str:
    out = StringIO()
    call_command("traces", *arguments, stdout=out, stderr=err or StringIO())
    return out.getvalue()


def run_json(*arguments: str) -> list[Any]:
    return [json.loads(line) for line in run(*arguments, "--json").splitlines()]


def names() -> list[str]:
    return sorted(Trace.objects.values_list("name", flat=True))


# Pruning


def test_prune_deletes_what_is_older_with_its_steps(site: Site) -> None:
    old, new = rows.trace(days=31, name="old"), rows.trace(days=29, name="new")
    rows.step(old)
    kept = rows.step(new)
    printed = run("prune", "--older-than", "30d", "--no-input")
    assert printed == "deleted 1 trace\n"
    assert names() == ["new"]
    assert list(Step.objects.all()) == [kept]


def test_prune_goes_by_the_days_of_each_deployment(site: Site) -> None:
    short, long, other = (site.serve(name, echo()) for name in ("short", "long", "other"))
    Tracing.objects.create(deployment=short, days=2)
    Tracing.objects.create(deployment=long, days=90)
    for row in (short, long, other, None):
        rows.trace(row, days=40, name=f"{row} 40")
        rows.trace(row, days=3, name=f"{row} 3")
    assert run_json("prune", "--no-input") == [{"deleted": 4}]
    assert names() == ["None 3", "long 3", "long 40", "other 3"]


@pytest.mark.parametrize("named", ["it", "/it"])
def test_prune_can_be_of_one_deployment(site: Site, named: str) -> None:
    it, other = site.serve("it", echo()), site.serve("other", echo())
    rows.trace(it, days=31)
    rows.trace(other, days=31, name="other")
    run("prune", "--older-than=30d", f"--deployment={named}", "--no-input")
    assert names() == ["other"]


def test_traces_of_a_deleted_deployment_are_found_by_its_name(site: Site) -> None:
    rows.trace(None, days=31, name="left")
    rows.trace(None, days=31, name="other", deployment_name="other")
    run("prune", "--older-than=30d", "--deployment=gone", "--no-input")
    assert names() == ["other"]


def test_dry_run_deletes_nothing(site: Site) -> None:
    rows.trace(days=31)
    assert run("prune", "--dry-run") == "would delete 1 trace\n"
    assert run_json("prune", "--dry-run") == [{"would_delete": 1}]
    assert Trace.objects.count() == 1


@pytest.mark.parametrize(("answer", "left"), [("y", 0), ("yes", 0), ("", 1), ("n", 1), (None, 1)])
def test_without_no_input_it_asks(
    site: Site, monkeypatch: pytest.MonkeyPatch, answer: str | None, left: int
) -> None:
    rows.trace(days=31)
    monkeypatch.setattr("sys.stdin", StringIO("" if answer is None else f"{answer}\n"))
    err = StringIO()
    try:
        run("prune", err=err)
    except CommandError:
        assert left
    assert "Delete 1 trace with all their steps? [y/N]" in err.getvalue()
    assert Trace.objects.count() == left


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["prune", "--older-than", "30"],
        ["prune", "--deployment", "nothing"],
        ["export", "--format", "xml"],
        ["export", "--since", "yesterday"],
        ["export", "--state", "glorious"],
        ["export", "--user", "nobody"],
        ["rebuild-stats", "--deployment", "nothing"],
        ["rebuild-stats", "--since=2026-02-02", "--until=2026-01-01"],
        ["share"],
        ["share", "revoke"],
        ["share", "revoke", "99"],
        ["share", "list", "--deployment", "nothing"],
    ],
)
def test_wrong_usage_is_refused(site: Site, arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        run(*arguments)


def test_ctrl_c_finishes_the_batch_and_says_how_to_go_on(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(6):
        rows.step(rows.trace(days=31))
    err = Terminal(stop_at="2/6")
    with pytest.raises(SystemExit) as caught:
        run("prune", "--no-input", err=err)
    assert caught.value.code == 130
    assert "run the same again to go on" in err.getvalue()
    assert Trace.objects.count() == Step.objects.count() == 4
    # And it is Python's own again.
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert run("prune", "--no-input") == "deleted 4 traces\n"


# The bar


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def shown(monkeypatch: pytest.MonkeyPatch, columns: int, done: int, **options: Any) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    clock, err = Clock(), Terminal()
    stream = OutputWrapper(err)
    progress = Progress(stream, "Pruning", 100_000, "traces", clock=clock, **options)
    clock.now = 5.0
    progress.show(done)
    return err.getvalue()


def test_bar_has_a_share_a_unit_a_rate_and_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = shown(monkeypatch, 80, 48_000)
    assert text.startswith("\rPruning  48% ▇▇▇▇")
    assert text.rstrip().endswith("▁  48,000/100,000 traces  9,600/s  ETA 0:05")


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_bar_fits_its_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert len(shown(monkeypatch, columns, 48_000)) == columns


def test_bar_is_green_unless_colors_are_unwanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32m▇" in shown(monkeypatch, 80, 48_000)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in shown(monkeypatch, 80, 48_000)


def test_more_than_was_counted_is_no_more_than_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "100%" in shown(monkeypatch, 80, 100_005)


def test_elsewhere_a_plain_line_every_ten_seconds() -> None:
    for stream, options in ((StringIO(), {}), (Terminal(), {"bar": False})):
        clock = Clock()
        progress = Progress(OutputWrapper(stream), "Pruning", 400, "traces", clock=clock, **options)
        for second in range(31):
            clock.now = float(second)
            progress.show(second * 10)
        progress.close()
        assert stream.getvalue().splitlines() == [
            "Pruning  25%  100/400 traces  10/s  ETA 0:30",
            "Pruning  50%  200/400 traces  10/s  ETA 0:20",
            "Pruning  75%  300/400 traces  10/s  ETA 0:10",
        ]


def test_short_work_in_a_pipe_says_nothing_on_the_way(site: Site) -> None:
    rows.trace(days=31)
    err = StringIO()
    assert run("prune", "--no-input", err=err) == "deleted 1 trace\n"
    assert err.getvalue() == ""


# As a process


def process(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """
    The command at the test's own database.
    """
    env = {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{connection.settings_dict['NAME']}",
        "SECRET_KEY": "0123456789" * 5,
        "NO_COLOR": "1",
        "COLUMNS": "80",
    }
    command = [sys.executable, "manage.py", "traces", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=env, text=True, **options)


def test_on_a_real_terminal_there_is_a_bar_and_in_a_pipe_the_result_alone(site: Site) -> None:
    rows.trace(days=31)
    ours, theirs = os.openpty()
    with process("prune", "--no-input", "--json", stdout=subprocess.PIPE, stderr=theirs) as running:
        os.close(theirs)
        out, _ = running.communicate(timeout=60)
    seen = os.read(ours, 10_000).decode()
    os.close(ours)
    assert running.returncode == 0
    assert json.loads(out) == {"deleted": 1}
    assert "Pruning 100% ▇" in seen
    assert "1/1 traces" in seen
    assert "\x1b" not in seen


def test_reader_who_has_had_enough_is_no_error(site: Site) -> None:
    for _ in range(40):
        rows.trace(input=json.dumps("x" * 10_000))
    with process("export", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.read(10).startswith("{")
        running.stdout.close()
        complaint = running.stderr.read()
    assert complaint == ""
    assert running.returncode == 0


def test_wrong_usage_exits_with_2(site: Site) -> None:
    with process("prune", "--older-than=soon", stderr=subprocess.PIPE) as running:
        _, complaint = running.communicate(timeout=60)
    assert running.returncode == 2
    assert "30d" in complaint


# Exporting


def test_export_is_a_line_of_json_with_the_tree_and_feedback(site: Site) -> None:
    alice = site.user("alice")
    it = site.serve("it", echo())
    made = rows.trace(it, user=alice, config='{"tags":["a"]}', tags='["a"]', steps_count=3)
    first = rows.step(made, 1)
    inner = rows.step(made, 2, first, kind="llm", model="gpt", input_tokens=7)
    last = rows.step(made, 3)
    Feedback.objects.create(
        run_id=inner.pk, trace_id=made.pk, key="thumbs", author="token", score=1, comment="good"
    )

    [line] = [json.loads(line) for line in run("export").splitlines()]
    assert line["run_id"] == str(made.pk)
    assert (line["deployment"], line["user"], line["state"]) == ("it", "alice", "done")
    assert (line["input"], line["output"]) == ({"question": "why?"}, "because")
    assert (line["config"], line["tags"]) == ({"tags": ["a"]}, ["a"])
    assert [one["id"] for one in line["steps"]] == [str(first.pk), str(last.pk)]
    [nested] = line["steps"][0]["steps"]
    assert (nested["id"], nested["model"], nested["input_tokens"]) == (str(inner.pk), "gpt", 7)
    [said] = line["feedback"]
    assert (said["run_id"], said["key"], said["score"]) == (str(inner.pk), "thumbs", 1.0)


def test_what_was_cut_is_exported_as_text(site: Site) -> None:
    rows.trace(input='{"question":"wh', input_size=1000, output="")
    [line] = [json.loads(line) for line in run("export").splitlines()]
    assert (line["input"], line["input_size"]) == ('{"question":"wh', 1000)
    assert line["output"] is None


def test_export_goes_on_where_a_batch_ended(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("traces.management.export.BATCH", 2)
    at = timezone.now()
    # Some of them began at the same time.
    made = [rows.trace(started_at=at - timedelta(seconds=n // 3)) for n in range(7)]
    exported = [json.loads(line)["run_id"] for line in run("export").splitlines()]
    assert sorted(exported) == sorted(str(trace.pk) for trace in made)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["failed", "new", "old", "other"]),
        (["--deployment", "it"], ["failed", "new", "old"]),
        (["--state", "failed"], ["failed"]),
        (["--since", "5d"], ["failed", "new", "other"]),
        (["--until", "5d"], ["old"]),
        (["--until", "2020-01-01"], []),
        (["--user", "alice"], ["new"]),
        (["--deployment=/it", "--since=5d", "--state=done"], ["new"]),
    ],
)
def test_export_is_of_what_was_asked_for(
    site: Site, arguments: list[str], expected: list[str]
) -> None:
    it, other = site.serve("it", echo()), site.serve("other", echo())
    rows.trace(it, days=10, name="old")
    rows.trace(it, name="new", user=site.user("alice"))
    rows.trace(it, name="failed", state="failed")
    rows.trace(other, name="other")
    lines = run("export", *arguments).splitlines()
    assert sorted(json.loads(line)["name"] for line in lines) == expected


def test_interrupted_export_says_where_to_go_on(site: Site) -> None:
    for _ in range(3):
        rows.trace()
    err = Terminal(stop_at="1/3")
    with pytest.raises(SystemExit) as caught:
        run("export", err=err)
    assert caught.value.code == 130
    assert "go on with --since" in err.getvalue()


# Counting anew


def _three_hours_ago(site: Site) -> Deployment:
    """
    A deployment with a run in each of the last three whole hours, none of them counted.
    """
    it = site.serve("it", echo())
    whole = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    for back in range(3):
        at = whole - timedelta(hours=back)
        rows.trace(
            it,
            version_pk=it.version_id,
            endpoint="invoke",
            started_at=at,
            ended_at=at + timedelta(seconds=1),
            request_ms=1000.0,
            request_state="done",
        )
    return it


def test_figures_are_counted_anew(site: Site) -> None:
    it = _three_hours_ago(site)
    (told,) = run_json("rebuild-stats", "--deployment=it")
    assert (told["hours"], told["changed"], told["left_alone"]) == (told["of"], 3, 0)
    found = Figures.objects.filter(deployment=it).values_list("requests", flat=True)
    assert list(found) == [1, 1, 1]
    assert run_json("rebuild-stats")[0]["changed"] == 0


def test_figures_of_what_is_not_all_recorded_are_left_alone(site: Site) -> None:
    it = _three_hours_ago(site)
    run("rebuild-stats")
    row = Figures.objects.order_by("hour")[0]
    Figures.objects.filter(pk=row.pk).update(requests=5)
    assert "left 1 alone" in run("rebuild-stats")
    assert Figures.objects.get(pk=row.pk).requests == 5
    assert it.figures.count() == 3


def test_nothing_recorded_is_nothing_to_count(site: Site) -> None:
    site.serve("it", echo())
    assert run_json("rebuild-stats")[0]["hours"] == 0


def test_counting_is_stopped_by_ctrl_c(site: Site) -> None:
    _three_hours_ago(site)
    err = Terminal(stop_at="1/3 hours")
    with pytest.raises(SystemExit) as caught:
        run("rebuild-stats", err=err)
    assert caught.value.code == 130


# Links


def test_links_are_listed_and_revoked(site: Site) -> None:
    it, alice = site.serve("it", echo()), site.user("alice")
    first, second, third = (
        TraceLink.objects.create(run_id=rows.trace(it).pk, deployment=it, created_by=user)
        for user in (alice, alice, None)
    )
    listed = run("share", "list")
    assert str(first.run_id) in listed
    assert first.token not in listed
    assert [line["by"] for line in run_json("share", "list")] == ["alice", "alice", None]

    assert run_json("share", "revoke", str(first.pk), "--dry-run") == [{"would_revoke": 1}]
    run("share", "revoke", f"https://example.org/s/{first.token}/", "--no-input")
    assert [line["link"] for line in run_json("share", "list")] == [second.pk, third.pk]
    assert run("share", "revoke", "--user=alice", "--no-input") == "revoked 1 link\n"
    states = [line["state"] for line in run_json("share", "list", "--all")]
    assert states == ["revoked", "revoked", "live"]
    assert run("share", "revoke", "--deployment=it", "--no-input") == "revoked 1 link\n"
    assert run("share", "list") == "no links\n"
    assert AuditEntry.objects.filter(text__startswith="Revoked a link").count() == 3
