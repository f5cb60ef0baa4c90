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
_PAIRS = frozenset([("api", "key"), ("private", "key"), ("access", "key"), ("secret", "key")])
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")

# Keys and tokens of well-known services, by what they begin with.
_LOOKS_LIKE_A_KEY = (
    r"\b(?:sk|pk|rk|lsv2|ghp|gho|ghu|ghs|github_pat|glpat|xox[abeprs]|hf|gsk|pypi)[-_][A-Za-z0-9_\-]{12,}",
    r"\bAKIA[0-9A-Z]{16}\b",
    r"\bAIza[0-9A-Za-z_\-]{30,}",
    r"\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    r"(?i:\b(?:bearer|basic)\s+)[A-Za-z0-9_\-.=+/]{12,}",
    r"(?i:\b(?:api[_-]?key|secret|password|passwd|access[_-]?token)\b[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&]{6,}",
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
        self._pattern = _compiled((*_LOOKS_LIKE_A_KEY, *patterns))
        # One look over the encoded bytes spares most payloads the walk.
        words = "|".join(re.escape(word) for word in sorted({*_WORDS, "key", *self._keys}))
        self._quick = re.compile(f"(?i:{words})")

    def text(self, text: str) -> str:
        return self._pattern.sub(REDACTED, text)

    def json(self, data: bytes) -> bytes:
        """
        The same JSON without secrets.
        """
        text = data.decode()
        if not self._quick.search(text) and not self._pattern.search(text):
            return data
        return orjson.dumps(self.plain(orjson.loads(data)))

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
        # Counts of tokens are no secrets.
        return not isinstance(value, int | float | None) and names_a_secret(str(name))


@lru_cache(maxsize=4096)
def names_a_secret(name: str) -> bool:
    """
    Whether a secret stands under such a name: `openai_api_key`, `accessToken`; not `max_tokens`.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    return not _WORDS.isdisjoint(words) or not _PAIRS.isdisjoint(pairwise(words))


def _compiled(patterns: Iterable[str]) -> re.Pattern[str]:
    parts = []
    for pattern in patterns:
        if len(pattern) > MAX_PATTERN_LENGTH:
            raise BadPattern(f"a pattern may have {MAX_PATTERN_LENGTH} characters at most")
        try:
            if re.compile(pattern).match(""):
                raise BadPattern(f"{pattern!r} matches an empty text, which is everywhere")
        except re.error as error:
            raise BadPattern(f"{pattern!r} is no regular expression: {error}") from None
        parts.append(f"(?:{pattern})")
    return re.compile("|".join(parts))


STANDARD = Redactor()
