"""
A queue's results as files: a row for each answer, or a set to evaluate with.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from io import StringIO
from typing import Any

import orjson

from traces.models import Trace
from traces.review.results import Results, Said, rating_of

# What a spreadsheet would take for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
COLUMNS = (
    *("run_id", "deployment", "version", "reviewer", "reviewed_at"),
    *("key", "score", "value", "comment", "correction"),
)


def as_csv(results: Results) -> str:
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for row in _rows(results):
        writer.writerow([_cell(row[name]) for name in COLUMNS])
    return text.getvalue()


def as_jsonl(results: Results) -> str:
    return _lines(_rows(results))


def as_evaluation_set(results: Results) -> str:
    """
    For each run its input, its output and the latest correction, with the average scores.
    Left out are runs whose payloads the viewer may not see, and those not kept whole.
    """
    return _lines(_examples(results))


def _rows(results: Results) -> Iterator[dict[str, Any]]:
    for said in results.said:
        trace = said.trace
        for key in results.keys:
            if row := said.by_key.get(key.key):
                yield {
                    "run_id": str(trace.pk),
                    "deployment": trace.deployment_name,
                    "version": trace.version,
                    "reviewer": str(said.reviewer),
                    "reviewed_at": said.review.at.isoformat(),
                    "key": key.key,
                    "score": row.score,
                    "value": row.value,
                    "comment": row.comment,
                    "correction": row.correction,
                }


def _examples(results: Results) -> Iterator[dict[str, Any]]:
    together: dict[Any, list[Said]] = defaultdict(list)
    for said in results.said:
        together[said.trace.pk].append(said)
    for pk, about in together.items():
        # One at a time: payloads may be large.
        trace = Trace.objects.filter(pk=pk).only(*_OF_TRACES).first()
        if trace is None or not results.viewer.may_see_payloads(trace):
            continue
        try:
            given, answer = orjson.loads(trace.input), orjson.loads(trace.output)
        except orjson.JSONDecodeError:  # not kept, or only a beginning of it
            continue
        yield {
            "input": given,
            "output": answer,
            "correction": _correction(about),
            "run_id": str(trace.pk),
            "deployment": trace.deployment_name,
            "version": trace.version,
            "scores": _scores(about),
        }


_OF_TRACES = ("deployment", "deployment_name", "version", "principal", "input", "output")


def _correction(together: list[Said]) -> Any:
    rows = [row for said in together for row in said.by_key.values()]
    corrected = [row for row in rows if row.correction is not None]
    return max(corrected, key=lambda row: row.modified_at).correction if corrected else None


def _scores(together: list[Said]) -> dict[str, Any]:
    """
    Key -> the average of its scores, or the list of its words.
    """
    given: dict[str, list[Any]] = defaultdict(list)
    for said in together:
        for key, row in said.by_key.items():
            if (rating := rating_of(row)) is not None:
                given[key].append(rating)
    return {
        key: sum(ratings) / len(ratings)
        if all(isinstance(rating, int | float) for rating in ratings)
        else ratings
        for key, ratings in given.items()
    }


def _lines(rows: Iterator[dict[str, Any]]) -> str:
    return "".join(orjson.dumps(row).decode() + "\n" for row in rows)


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, int | float):
        return value
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return f"'{text}" if text.startswith(FORMULA) else text
