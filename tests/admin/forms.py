"""
A form of a page, as a browser would send it if it were sent as it is.
"""

from __future__ import annotations

from html.parser import HTMLParser

Fields = dict[str, list[str]]


class _Form(HTMLParser):
    def __init__(self, form_id: str) -> None:
        super().__init__()
        self.form_id = form_id
        self.fields: Fields = {}
        self._is_inside = False
        self._select = ""
        self._textarea = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        if tag == "form":
            self._is_inside = found.get("id") == self.form_id
        elif not self._is_inside or found.get("form", self.form_id) != self.form_id:
            return
        elif tag == "input":
            self._note_input(found)
        elif tag == "select":
            self._select = found.get("name", "")
            self.fields.setdefault(self._select, [""])
        elif tag == "option" and "selected" in found:
            self.fields[self._select] = [found.get("value", "")]
        elif tag == "textarea":
            self._textarea = found.get("name", "")
            self.fields[self._textarea] = [""]

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._is_inside = False
        elif tag == "textarea":
            self._textarea = ""

    def handle_data(self, data: str) -> None:
        if self._textarea:
            before = self.fields[self._textarea][0]
            self.fields[self._textarea] = [(before + data).removeprefix("\n")]

    def _note_input(self, found: dict[str, str]) -> None:
        kind, name = found.get("type", "text"), found.get("name", "")
        if kind in ("submit", "button") or not name:
            return
        if kind == "checkbox" and "checked" not in found:
            return
        default = "on" if kind == "checkbox" else ""
        self.fields.setdefault(name, []).append(found.get("value", default))


def fields_of(page: str, form_id: str) -> Fields:
    form = _Form(form_id)
    form.feed(page)
    return form.fields
