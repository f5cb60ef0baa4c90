"""
Secrets taken out of what is kept: what stands under a name that looks like a credential, and
text that looks like one wherever it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

import orjson

REDACTED = "[redacted]"
_Patterns = tuple[tuple[tuple[str, ...], re.Pattern[str]], ...]
# Less JSON than this holds none: `{"pin":1}`.
SHORTEST_SECRET = 8
# A pattern of staff's own that is slow on bad input must not hold the writer up for ever.
MAX_PATTERN_LENGTH = 500

# Words of names under which secrets stand. Narrower than what closes an id to callers: a `key`
# or an `endpoint` in a payload is seldom one.
_WORDS = frozenset(
    (
        *("secret", "secrets", "password", "passwd", "passphrase", "token", "apikey"),
        *("authorization", "cookie", "credential", "credentials"),
    )
)
# Models count these: numbers under such a name are no secrets, nor is a dict, as `token_usage`.
_COUNTED = frozenset(["token"])
_PAIRS = frozenset([("api", "key"), ("private", "key"), ("access", "key"), ("secret", "key")])
# As JSON has them as they are.
_IS_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)", re.DOTALL)
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")

# Keys and tokens of well-known services, by what they begin with. Before each what a text must
# have in it, in small letters: a look for that is a hundred times as quick as the pattern.
_LOOK_LIKE_KEYS = (
    (("sk-", "sk_"), r"\bsk[-_][A-Za-z0-9_\-]{12,}"),
    (("pk-", "pk_", "rk_"), r"\b[pr]k[-_][A-Za-z0-9_\-]{12,}"),
    (("lsv2_",), r"\blsv2_[A-Za-z0-9_\-]{12,}"),
    (("ghp_", "gho_", "ghu_", "ghs_"), r"\bgh[pous]_[A-Za-z0-9]{12,}"),
    (("github_pat_",), r"\bgithub_pat_[A-Za-z0-9_]{12,}"),
    (("glpat-",), r"\bglpat-[A-Za-z0-9_\-]{12,}"),
    (("xox",), r"\bxox[abeprs]-[A-Za-z0-9\-]{10,}"),
    (("hf_", "gsk_"), r"\b(?:hf|gsk)_[A-Za-z0-9]{12,}"),
    (("pypi-",), r"\bpypi-[A-Za-z0-9_\-]{12,}"),
    (("akia",), r"\bAKIA[0-9A-Z]{16}\b"),
    (("aiza",), r"\bAIza[0-9A-Za-z_\-]{30,}"),
    # Not \b, with which each "eyJ-" of a long row would look at all that follow.
    (("eyj",), r"(?<![A-Za-z0-9_\-])eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*"),
    (
        ("private key-----",),
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    ),
    (("bearer", "basic"), r"(?i:\b(?:bearer|basic)\s+)[A-Za-z0-9_\-.=+/]{12,}"),
    (
        # Also as the end of a name: DB_PASSWORD, AWS_SECRET_ACCESS_KEY.
        ("key", "secret", "passw", "passphrase", "token"),
        r"(?i:(?<![a-z0-9])(?:(?:api|access|secret|private)[_-]?key|secret|password|passwd"
        r"|passphrase|(?:access|refresh|auth|id)[_-]?token)[\"']?\s*[=:]\s*[\"']?)"
        r"[^\s\"',;&]{6,}",
    ),
    (("://",), r"(?<=://)[^\s/:@]+:[^\s/@]+(?=@)"),
)


class BadPattern(ValueError):
    """
    A pattern that is no regular expression; the text says why.
    """


class Redactor:
    """
    `keys` are names, whatever their case, and `patterns` regular expressions, beside those that
    always count. Raises BadPattern.
    """

    def __init__(self, keys: Iterable[str] = (), patterns: Iterable[str] = ()) -> None:
        self._keys = frozenset(key.lower() for key in keys)
        own = tuple(((), _compiled(pattern)) for pattern in patterns)
        self._patterns: _Patterns = (*_STANDARD, *own) if own or self._keys else _STANDARD
        self._words = tuple({*_WORDS, "key", *self._keys})
        # One look over the encoded bytes spares most payloads the walk; a pattern of staff's
        # own may be anchored, or match what is escaped there.
        self._has_quick_look = not own and all(map(_IS_PLAIN.fullmatch, self._keys))

    def text(self, text: str) -> str:
        lowered = text.lower()
        for hints, pattern in self._patterns:
            if not hints or _any_in(hints, lowered):
                text = pattern.sub(REDACTED, text)
        return text

    def json(self, data: bytes) -> bytes:
        """
        The same JSON without secrets.
        """
        if len(data) < SHORTEST_SECRET and self._patterns is _STANDARD:
            return data
        text = data.decode()
        lowered = text.lower()
        if self._has_quick_look and not self._may_hold_secrets(text, lowered):
            return data
        try:
            return orjson.dumps(self.plain(orjson.loads(data)))
        except (RecursionError, orjson.JSONEncodeError):
            # Nested deeper than can be looked through: nothing of it is known to be harmless.
            return orjson.dumps(REDACTED)

    def _may_hold_secrets(self, text: str, lowered: str) -> bool:
        if _any_in(self._words, lowered):
            return True
        likely = [pattern for hints, pattern in self._patterns if _any_in(hints, lowered)]
        if any(pattern.search(text) for pattern in likely):
            return True
        if not likely or "\\" not in text:
            return False
        # The n of a \n before a key would make it the middle of a word.
        text = _ESCAPE.sub(" ", text)
        return any(pattern.search(text) for pattern in likely)

    def plain(self, value: Any) -> Any:
        """
        The same dicts, lists and texts without secrets.
        """
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                self.text(str(name)): REDACTED if self._hides(name, one) else self.plain(one)
                for name, one in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.plain(one) for one in value]
        return value

    def _hides(self, name: Any, value: Any) -> bool:
        if str(name).lower() in self._keys:
            return True
        if value is None or isinstance(value, bool):
            return False
        if isinstance(value, int | float | Mapping) or _are_numbers(value):
            return names_a_secret(str(name), counted=False)
        return names_a_secret(str(name))


@lru_cache(maxsize=4096)
def names_a_secret(name: str, *, counted: bool = True) -> bool:
    """
    Whether a secret stands under such a name: `openai_api_key`, `accessToken`; not `max_tokens`.
    Without `counted`, whether a number would be one.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    secret = _WORDS if counted else _WORDS - _COUNTED
    return not secret.isdisjoint(words) or not _PAIRS.isdisjoint(pairwise(words))


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, int | float) for one in value)


def _any_in(words: Iterable[str], text: str) -> bool:
    return any(map(text.__contains__, words))


def _compiled(pattern: str) -> re.Pattern[str]:
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise BadPattern(f"a pattern may have {MAX_PATTERN_LENGTH} characters at most")
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError) as error:
        raise BadPattern(f"{pattern!r} is no regular expression: {error}") from None
    for text in ("", "a 1-b"):
        if any(found.start() == found.end() for found in compiled.finditer(text)):
            raise BadPattern(f"{pattern!r} matches an empty text, which is everywhere")
    return compiled


_STANDARD: _Patterns = tuple((hints, re.compile(pattern)) for hints, pattern in _LOOK_LIKE_KEYS)
STANDARD = Redactor()
