"""
Chat history in the database, kept apart by owner, deployment and session id.

    RunnableWithMessageHistory(chain, history_factory("support"), input_messages_key=...)

Within a call the owner is whoever calls, as the server knows it: nothing in a session id
can name another. Rows are messages as the wire spells them, read back by the table of
`runnables.codec`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import dropwhile
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from runnables import database, running
from runnables.codec import MESSAGES, decode_message, tolerant
from runnables.exceptions import InvalidInput
from runnables.models import ChatMessage, ChatSession

ANONYMOUS = "anonymous"
MAX_SESSION_ID = 255
DELETED_AT_ONCE = 200

# The principals of `runnables.identity`: a number, a UUID in hex, or any key in hex.
_USER = r"u(?:\d+|[0-9a-f]{32}|x(?:[0-9a-f]{2})+)"
_OWNED = re.compile(rf"(?P<owner>{ANONYMOUS}|{_USER})-(?P<id>.*)", re.DOTALL)
_CHUNK = "MessageChunk"
_OF_CHUNKS_ALONE = ("tool_call_chunks", "chunk_position")


class DjangoChatMessageHistory(BaseChatMessageHistory):
    """
    One conversation of one owner at one deployment. With `max_messages` only the last so
    many are given out; all are kept.

    `for_one_call` reads once: LangChain reads again when a run has ended, and takes whatever
    another call has added meanwhile for its own question.
    """

    def __init__(
        self,
        owner: str,
        deployment: str,
        session_id: str,
        *,
        max_messages: int | None = None,
        for_one_call: bool = False,
    ) -> None:
        super().__init__()
        self.owner = owner
        self.deployment = deployment
        self.session_id = session_id
        self._max_messages = max_messages
        self._for_one_call = for_one_call
        self._given: list[BaseMessage] | None = None

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        if self._given is not None:
            return [*self._given]
        with database.own_connection():
            return self._kept(self._read())

    async def aget_messages(self) -> list[BaseMessage]:
        if self._given is not None:
            return [*self._given]
        return self._kept(await database.query(self._read))

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        with database.own_connection():
            self._add(messages)

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        await database.query(lambda: self._add(messages))

    def clear(self) -> None:
        with database.own_connection():
            self._clear()

    async def aclear(self) -> None:
        await database.query(self._clear)

    def _sessions(self) -> QuerySet[ChatSession]:
        return ChatSession.objects.filter(
            owner=self.owner, deployment=self.deployment, session_id=self.session_id
        )

    def _locked_session(self) -> ChatSession:
        """
        The row, which whoever else adds messages waits for: what is added together stays together.
        """
        session = self._sessions().select_for_update().first()
        if session is None:
            session, _ = ChatSession.objects.select_for_update().get_or_create(
                owner=self.owner,
                deployment=self.deployment,
                session_id=self.session_id,
                defaults={"user": _user_of(self.owner)},
            )
        return session

    def _read(self) -> list[BaseMessage]:
        rows = ChatMessage.objects.filter(
            session__owner=self.owner,
            session__deployment=self.deployment,
            session__session_id=self.session_id,
        ).order_by("-pk")
        newest = list(rows.values_list("message", flat=True)[: self._max_messages])
        messages = [decode_message(row) for row in reversed(newest)]
        if len(messages) == self._max_messages:
            # Models refuse a tool's result whose call was cut off.
            return list(dropwhile(_is_result, messages))
        return messages

    def _kept(self, messages: list[BaseMessage]) -> list[BaseMessage]:
        if self._for_one_call:
            self._given = [*messages]
        return messages

    def _add(self, messages: Sequence[BaseMessage]) -> None:
        self._given = None
        rows = [encoded(message) for message in messages]
        with transaction.atomic():
            session = self._locked_session()
            ChatMessage.objects.bulk_create(
                ChatMessage(session=session, message=row) for row in rows
            )
            session.save(update_fields=["updated_at"])

    def _clear(self) -> None:
        self._given = None
        self._sessions().delete()


def history_factory(
    deployment: str, *, max_messages: int | None = None
) -> Callable[[str], DjangoChatMessageHistory]:
    """
    What RunnableWithMessageHistory wants as `get_session_history`. Conversations are kept
    under the name `deployment`, usually that of `register`.
    """
    if not 0 < len(deployment) <= 200:
        raise ValueError("the name of a deployment has 1 to 200 characters")
    if max_messages is not None and max_messages < 1:
        raise ValueError(f"max_messages has to be at least 1, not {max_messages}")

    def history(session_id: str) -> DjangoChatMessageHistory:
        owner, own_id = _owned(str(session_id))
        _check(own_id)
        return DjangoChatMessageHistory(
            owner, deployment, own_id, max_messages=max_messages, for_one_call=True
        )

    return history


def encoded(message: BaseMessage) -> dict[str, Any]:
    """
    A message as its row has it: a chunk as the whole message that it is by now, and
    without NUL, which PostgreSQL cannot keep. Raises ValueError for what cannot be read back.
    """
    if message.type not in MESSAGES or message.type == "remove":
        raise ValueError(f"a {type(message).__name__} cannot be kept in a chat history")
    row: dict[str, Any] = _without_nul(tolerant.plain(message))
    if message.type.endswith(_CHUNK):
        row = {key: value for key, value in row.items() if key not in _OF_CHUNKS_ALONE}
        row["type"] = message.type.removesuffix(_CHUNK).lower()
    return row


def prune(older_than: timedelta) -> int:
    """
    Delete the conversations that nothing was added to for so long; how many they were.
    """
    return sum(delete_sessions(outdated(older_than)))


def outdated(older_than: timedelta) -> QuerySet[ChatSession]:
    return ChatSession.objects.filter(updated_at__lt=timezone.now() - older_than)


def delete_sessions(sessions: QuerySet[ChatSession]) -> Iterator[int]:
    """
    Delete them batch by batch, each in a transaction of its own; says how many after each.
    """
    while True:
        with transaction.atomic():
            # One that is being added to just now is young again once it is ours.
            locked = sessions.order_by("pk").select_for_update(of=("self",))
            keys = list(locked.values_list("pk", flat=True)[:DELETED_AT_ONCE])
            ChatSession.objects.filter(pk__in=keys).delete()
        if not keys:
            return
        yield len(keys)


def exported(sessions: QuerySet[ChatSession]) -> Iterator[str]:
    """
    Each conversation as one line of JSON.
    """
    rows = sessions.select_related("user").prefetch_related("messages").order_by("pk")
    for session in rows.iterator(chunk_size=100):
        yield json.dumps(
            {
                "deployment": session.deployment,
                "session_id": session.session_id,
                "owner": session.owner,
                "user": session.user.get_username() if session.user else None,
                "created_at": session.created_at.isoformat(),
                "updated_at": session.updated_at.isoformat(),
                "messages": [
                    {"created_at": row.created_at.isoformat(), "message": row.message}
                    for row in session.messages.all()
                ],
            },
            ensure_ascii=False,
        )


def _owned(session_id: str) -> tuple[str, str]:
    """
    Whose conversation this is, and its id with them. Outside a call it is as the text says;
    what says nothing is owner "".
    """
    call = running.current()
    if call is not None:
        owner = call.principal or ANONYMOUS
        return owner, session_id.removeprefix(f"{owner}-")
    found = _OWNED.fullmatch(session_id)
    return (found["owner"], found["id"]) if found else ("", session_id)


def _check(session_id: str) -> None:
    """
    Raise InvalidInput, which the caller sees, for an id that no database row can have.
    """
    if len(session_id) > MAX_SESSION_ID or "\0" in session_id or not _is_utf8(session_id):
        wanted = f"should be a text of at most {MAX_SESSION_ID} characters, without NUL"
        raise InvalidInput(
            [{"type": "value_error", "loc": ["configurable", "session_id"], "msg": wanted}]
        )


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_result(message: BaseMessage) -> bool:
    return message.type in ("tool", "function")


def _user_of(owner: str) -> Any:
    """
    The user of a principal, None for others. Raises LookupError if the user is gone: the
    history went with the user, and a call that was still going on must not begin it anew.
    """
    if not re.fullmatch(_USER, owner):
        return None
    key = owner[1:]
    if key.startswith("x"):
        key = bytes.fromhex(key[1:]).decode()
    user = get_user_model()._default_manager.filter(pk=key).first()
    if user is None:
        raise LookupError(f"there is no user for the chat history of {owner}")
    return user


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    return value
