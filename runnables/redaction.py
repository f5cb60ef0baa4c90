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
_IS_PLAIN = re.compile(r"[\w .:/-]*", re.ASCII)
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)", re.DOTALL)
_REFERENCE = re.compile(r"\\[1-9]|\(\?P=|\(\?\(")
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")

# Keys and tokens of well-known services, by what they begin with.
_LOOKS_LIKE_A_KEY = (
    r"\b(?:sk|pk|rk|lsv2|ghp|gho|ghu|ghs|github_pat|glpat|xox[abeprs]|hf|gsk|pypi)[-_][A-Za-z0-9_\-]{12,}",
    r"\bAKIA[0-9A-Z]{16}\b",
    r"\bAIza[0-9A-Za-z_\-]{30,}",
    r"(?<![A-Za-z0-9_\-])eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    r"(?i:\b(?:bearer|basic)\s+)[A-Za-z0-9_\-.=+/]{12,}",
    # Also as an end of a name: DB_PASSWORD, AWS_SECRET_ACCESS_KEY.
    r"(?i:(?<![a-z0-9])(?:api[_-]?key|(?:access[_-]?|secret[_-]?|private[_-]?)key|secret|password"
    r"|passwd|passphrase|(?:access|refresh|auth|id)[_-]?token)[\"']?\s*[=:]\s*[\"']?)"
    r"[^\s\"',;&]{6,}",
    r"(?<=://)[^\s/:@]+:[^\s/@]+(?=@)",
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
        own = tuple(patterns)
        self._pattern = _compiled((*_LOOKS_LIKE_A_KEY, *own))
        # One look over the encoded bytes spares most payloads the walk; a pattern of staff's
        # own may be anchored, or match what is escaped there.
        self._has_quick_look = not own and all(_IS_PLAIN.fullmatch(key) for key in self._keys)
        words = "|".join(re.escape(word) for word in sorted({*_WORDS, "key", *self._keys}))
        self._quick = re.compile(f"(?i:{words})")

    def text(self, text: str) -> str:
        return self._pattern.sub(REDACTED, text)

    def json(self, data: bytes) -> bytes:
        """
        The same JSON without secrets.
        """
        text = data.decode()
        if self._has_quick_look and not self._may_hold_secrets(text):
            return data
        try:
            return orjson.dumps(self.plain(orjson.loads(data)))
        except (RecursionError, orjson.JSONEncodeError):
            # Nested deeper than can be looked through: nothing of it is known to be harmless.
            return orjson.dumps(REDACTED)

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

    def _may_hold_secrets(self, text: str) -> bool:
        if self._quick.search(text) or self._pattern.search(text):
            return True
        # The n of a \\n before a key would make it the middle of a word.
        return "\\" in text and bool(self._pattern.search(_ESCAPE.sub(" ", text)))

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


def _compiled(patterns: Iterable[str]) -> re.Pattern[str]:
    parts = [f"(?:{pattern})" for pattern in patterns if _checked(pattern)]
    try:
        return re.compile("|".join(parts))
    except re.error as error:
        # Two groups of the same name, for one.
        raise BadPattern(f"the patterns do not go together: {error}") from None


def _checked(pattern: str) -> str:
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise BadPattern(f"a pattern may have {MAX_PATTERN_LENGTH} characters at most")
    try:
        # As it will stand: flags for all, (?i), cannot be in the middle.
        compiled = re.compile(f"(?:{pattern})")
    except (re.error, OverflowError) as error:
        raise BadPattern(f"{pattern!r} is no regular expression: {error}") from None
    if _REFERENCE.search(pattern):
        raise BadPattern(f"{pattern!r} refers to a group, which would be another one here")
    for text in ("", "a 1-b"):
        if any(found.start() == found.end() for found in compiled.finditer(text)):
            raise BadPattern(f"{pattern!r} matches an empty text, which is everywhere")
    return pattern


STANDARD = Redactor()
