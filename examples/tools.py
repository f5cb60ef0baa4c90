"""
The agent's tools. Each one does its work offline, and tells the model in words when it can't.
"""

from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from langchain_core.tools import BaseTool, ToolException, tool

from examples.calculator import RefusedExpression, calculate
from examples.handbook import handbook_retriever
from examples.reading import format_passages


@tool
def calculator(expression: str) -> str:
    """Work out an arithmetic expression such as (3 + 4) * 12."""
    try:
        return calculate(expression)
    except RefusedExpression as refusal:
        raise ToolException(f"I can't calculate that. {refusal}") from refusal


@tool
def current_time(place: str = "UTC") -> str:
    """Tell the date and time at a place: a city such as Tokyo, or a time zone such as Europe/Berlin."""
    zone = zones().get(place.strip().replace(" ", "_").casefold())
    if zone is None:
        raise ToolException(f"I know no time zone for {place}.")
    # Without a time zone database even ZoneInfo("UTC") is unknown.
    now = datetime.now(UTC if zone == "UTC" else ZoneInfo(zone))
    return f"In {zone} it is {now:%H:%M on %A, %d %B %Y}."


@tool
def search_handbook(query: str) -> str:
    """Search the handbook of this server for passages about a question."""
    return format_passages(handbook_retriever().invoke(query)) or "No passage fits."


@cache
def zones() -> dict[str, str]:
    """
    Time zones by their full names and by their cities, in lower case.
    """
    names = sorted(available_timezones() | {"UTC"})
    return {name.rpartition("/")[2].casefold(): name for name in names} | {
        name.casefold(): name for name in names
    }


def offline_tools() -> list[BaseTool]:
    tools = [calculator, current_time, search_handbook]
    for each in tools:
        each.handle_tool_error = (
            True  # a refusal is an answer for the model, not the end of the run
        )
    return tools
