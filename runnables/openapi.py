"""
The OpenAPI 3.1 document of what a caller may use.

Made from the snapshot, a fragment per deployment, and put together from bytes.
drf-spectacular reads DRF's serializers and URLs, of which deployments have none, so only
its sidecar is used, for the files of Swagger UI.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from runnables import __version__, access, openapi_shared, snapshot
from runnables.identity import CallerRequest
from runnables.openapi_paths import Fragment, fragment, members
from runnables.openapi_schemas import digest_of, plain_name
from runnables.served import ServedDeployment

VERSION = "3.1.1"
# Whole documents kept; there is one per set of deployments that somebody may use.
KEPT_DOCUMENTS = 8
ABOUT = """\
Every endpoint also takes a slash at its end, and JSON whatever the `Content-Type` says. A
runnable may answer with any status from 400 to 599; the body of every error is an `Error`."""


@dataclass(frozen=True, slots=True)
class Document:
    """
    The document as JSON, and its entity tag.
    """

    content: bytes
    etag: str


# All documents are made in one thread of their own: a first one may build every runnable,
# which must neither hold up the loop nor be done twice at a time.
_maker = ThreadPoolExecutor(1, thread_name_prefix="langserve-openapi")
# An unchanged deployment stays the same object, so what was drawn of it stays true.
_fragments: WeakKeyDictionary[ServedDeployment, dict[str, Fragment]] = WeakKeyDictionary()
_documents: OrderedDict[tuple[str, tuple[Fragment, ...]], Document] = OrderedDict()


async def document(caller: CallerRequest, base_url: str) -> Document:
    """
    What this caller may use, served under `base_url` (no slash at its end).
    """
    visible = await access.may_use(caller, snapshot.all_deployments())
    return await asyncio.get_running_loop().run_in_executor(_maker, compose, visible, base_url)


def compose(deployments: Sequence[ServedDeployment], base_url: str) -> Document:
    """
    The document of these deployments. Not to be called in two threads at a time.
    """
    ordered = sorted(deployments, key=lambda deployment: deployment.path)
    names = namespaces([deployment.path for deployment in ordered])
    fragments = tuple(_fragment(one, names[one.path]) for one in ordered)
    key = (base_url, fragments)
    if key in _documents:
        _documents.move_to_end(key)
        return _documents[key]
    made = _assembled(fragments, base_url)
    if all(one.is_final for one in fragments):
        _documents[key] = made
        while len(_documents) > KEPT_DOCUMENTS:
            _documents.popitem(last=False)
    return made


def namespaces(paths: Sequence[str]) -> dict[str, str]:
    """
    One name per path, the same in whatever order they come: `a/b` is `a_b` unless `a_b` or
    `a-b` is there too, then it has a digest at its end.
    """
    plain = {path: plain_name(path) for path in paths}
    uses = Counter(plain.values())
    return {
        path: name if uses[name] == 1 or name == path else f"{name}_{digest_of(path)}"
        for path, name in plain.items()
    }


def _fragment(deployment: ServedDeployment, namespace: str) -> Fragment:
    known = _fragments.setdefault(deployment, {})
    if namespace not in known:
        made = fragment(deployment, namespace)
        if not made.is_final:
            return made
        known[namespace] = made
    return known[namespace]


def _assembled(fragments: Sequence[Fragment], base_url: str) -> Document:
    head = {
        "openapi": VERSION,
        "info": {"title": "Deployments", "version": __version__, "description": ABOUT},
        "servers": [{"url": base_url or "/"}],
        "tags": _tags(fragments),
    }
    paths = [members({"/deployments/": openapi_shared.list_deployments()})]
    paths += [one.paths for one in fragments]
    schemas = [members(openapi_shared.SCHEMAS), *(one.schemas for one in fragments)]
    content = b"{%b,%b:{%b},%b:{%b,%b:{%b}}}" % (
        members(head),
        b'"paths"',
        b",".join(paths),
        b'"components"',
        members(openapi_shared.components()),
        b'"schemas"',
        b",".join(schemas),
    )
    return Document(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def _tags(fragments: Sequence[Fragment]) -> list[dict[str, str]]:
    # A deployment at `a/config` shares the tag of `a` with a config.
    named = {"deployments": "What is served."}
    for one in fragments:
        named |= one.tags
    return [{"name": name, "description": about} for name, about in named.items()]
