"""
Secrets that are taken out of what is kept, and what looks like one and is not.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from runnables.redaction import REDACTED, STANDARD, BadPattern, Redactor, names_a_secret

KEY = "sk-canary1234567890abcdef"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEcanary\n-----END RSA PRIVATE KEY-----"


def redacted(value: Any, redactor: Redactor = STANDARD) -> Any:
    """
    What is kept, which is the same however it is come by.
    """
    kept = orjson.loads(redactor.json(orjson.dumps(value)))
    assert kept == redactor.plain(value)
    return kept


@pytest.mark.parametrize(
    "secret",
    [
        KEY,
        "pk_live_canary12345678",
        "ghp_canary1234567890abcd",
        "github_pat_canary1234567890",
        "glpat-canary1234567890",
        "xoxb-canary-1234567890",
        "hf_canary1234567890abc",
        "lsv2_pt_canary1234567890",
        "AKIACANARYCANARY1234",
        "AIzaCanary1234567890canary1234567890abc",
        "eyJhbGciOiJI.eyJjYW5hcnki.c2lnbmF0dXJl",
        "Bearer canary.0123456789",
        "bearer   canary.0123456789",
        "Basic Y2FuYXJ5OmNhbmFyeQ==",
        PEM,
        "-----BEGIN PRIVATE KEY-----\nMIIEcanary, cut",
        "password=canary",
        "password: canary-1",
        'PASSWORD = "canary-1"',
        "passwd=canary1",
        "api_key=canary1",
        "apikey: canary1",
        "api-key='canary1'",
        "access_token=canary1",
        "refresh_token: canary1",
        "DB_PASSWORD=canary1",
        "MY_API_KEY=canary1",
        "AWS_SECRET_ACCESS_KEY=canary1",
        "client_secret=canary1",
        '{"password": "canary1"}',
        '{"a": {"client_secret":"canary1"}}',
    ],
)
@pytest.mark.parametrize("around", ["{}", "a\n{}", 'a"{}"b', "a\t{} b", "\\{}", "größe {} 日本"])
def test_what_looks_like_a_secret_is_taken_out_of_a_text(secret: str, around: str) -> None:
    text = around.format(secret)
    for value in (text, [text], {"question": text}, {text: 1}, [{"a": [1, {"b": text}]}]):
        kept = orjson.dumps(redacted(value)).decode()
        assert "anary" not in kept.lower().replace("eyjhbgcioiji", "")
        assert REDACTED in kept


def test_login_in_an_address_is_taken_out() -> None:
    text = "postgres://canary:pass%20canary@db.example.org/x"
    assert redacted(text) == f"postgres://{REDACTED}@db.example.org/x"
    assert redacted('http://canary:p"canary@x') == f"http://{REDACTED}@x"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What is a password?",
        "The secret of life is 42.",
        "a task-list-of-mine",
        "risk-free rate of return",
        "https://example.org/path?x=1",
        "https://example.org:8080/@alice",
        "mail alice@example.org",
        "bearer of bad news",
        "sk-short",
        "keys and tokens",
        "größe 日本 🦜 \u0000 \n",
    ],
)
def test_other_texts_stay(text: str) -> None:
    for value in (text, [text], {"question": text}):
        assert redacted(value) == value


@pytest.mark.parametrize(
    "name",
    [
        *("password", "Password", "PASSWORD", "db_password", "userPassword", "user-password"),
        *("api_key", "apiKey", "API_KEY", "OPENAI_API_KEY", "x-api-key", "apikey", "openaiApiKey"),
        *("token", "access_token", "accessToken", "secret", "client_secret", "secrets"),
        *("Authorization", "cookie", "Set-Cookie", "credentials", "private_key", "passphrase"),
        *("aws_secret_access_key", 'quoted "token"'),
    ],
)
def test_what_stands_under_the_name_of_a_secret_is_taken_out(name: str) -> None:
    assert names_a_secret(name)
    for value in ("x", ["x", "y"], ""):
        assert redacted({name: value}) == {name: REDACTED}
        assert redacted([{"a": {name: value, "b": 1}}]) == [{"a": {name: REDACTED, "b": 1}}]


@pytest.mark.parametrize("name", ["password", "secret", "api_key", "credentials"])
def test_numbers_and_dicts_under_such_a_name_are_secrets_too(name: str) -> None:
    for value in (1234, 1.5, [1, 2, 3, 4], {"user": "alice"}):
        assert redacted({name: value}) == {name: REDACTED}


@pytest.mark.parametrize("value", [None, True, False])
def test_that_there_is_a_secret_or_none_stays(value: Any) -> None:
    assert redacted({"password": value}) == {"password": value}


@pytest.mark.parametrize(
    "value",
    [
        {"max_tokens": 10},
        {"maxTokens": "10"},
        {"token": 5},
        {"first_token_ms": 12.5},
        {"token_usage": {"prompt_tokens": 5, "total_tokens": 7}},
        {"token_ids": [1, 2, 3]},
        {"key": "value"},
        {"keyboard": "x", "monkey": "y"},
        {"secretary": "Ms Smith"},
        {"tokenizer": "x"},
        {"author": "x", "endpoint": "y", "base_url": "z"},
        {"größe": "x", "パスワード": "y"},
        [[], {}, [{}], 0, -1.5, 10**15, None, True],
    ],
)
def test_what_only_sounds_like_one_stays(value: Any) -> None:
    assert redacted(value) == value


def test_text_beneath_counts_of_tokens_is_looked_at() -> None:
    value = {"token_usage": {"prompt_tokens": 5, "password": "x", "note": KEY}}
    assert redacted(value) == {
        "token_usage": {"prompt_tokens": 5, "password": REDACTED, "note": REDACTED}
    }


def test_only_the_secret_part_of_a_text_goes() -> None:
    assert redacted(f"use {KEY} for this") == f"use {REDACTED} for this"
    assert redacted(f"{KEY} {KEY}") == f"{REDACTED} {REDACTED}"


def test_untouched_json_is_the_same_bytes() -> None:
    data = b'{"a" : [1, 2.50],"b":"\\u00e9"}'
    assert STANDARD.json(data) is data


def test_what_is_nested_too_deep_to_look_through_is_not_kept() -> None:
    deep = b"[" * 900 + orjson.dumps({"password": "canary"}) + b"]" * 900
    kept = STANDARD.json(deep)
    assert b"canary" not in kept


# What staff add


@pytest.mark.parametrize(
    ("keys", "value", "kept"),
    [
        (["iban"], {"iban": "DE12"}, {"iban": REDACTED}),
        (["IBAN"], {"Iban": 5}, {"Iban": REDACTED}),
        (["iban"], {"my_iban": "DE12"}, {"my_iban": "DE12"}),
        (["max_tokens"], {"max_tokens": 1}, {"max_tokens": REDACTED}),
        (['a "b"'], {'a "b"': {"c": 1}}, {'a "b"': REDACTED}),
        (["größe"], {"Größe": None}, {"Größe": REDACTED}),
        (["a.b"], {"axb": 1, "a.b": 2}, {"axb": 1, "a.b": REDACTED}),
    ],
)
def test_keys_of_staffs_own(keys: list[str], value: Any, kept: Any) -> None:
    assert redacted(value, Redactor(keys)) == kept


@pytest.mark.parametrize(
    ("pattern", "text", "kept"),
    [
        (r"\bDE\d{4}\b", "to DE1234, DE12345", f"to {REDACTED}, DE12345"),
        (r"^Dear \w+", "Dear Alice, hello", f"{REDACTED}, hello"),
        (r"bye$", "good bye", f"good {REDACTED}"),
        (r'"[a-z]+"', 'say "plan"', f"say {REDACTED}"),
        (r"one\ntwo", "one\ntwo", REDACTED),
        (r"C:\\\w+", r"in C:\Users now", f"in {REDACTED} now"),
        (r"(?i:projekt) \w+", "Projekt Größe", REDACTED),
        (r"(?i)projekt", "Projekt", REDACTED),
        (r"(\d)-\1", "1-1 1-2", f"{REDACTED} 1-2"),
        (r"日本|🦜", "a 日本 b 🦜", f"a {REDACTED} b {REDACTED}"),
        (r"(?<=id=)(\d+)", "id=12", f"id={REDACTED}"),
    ],
)
def test_patterns_of_staffs_own(pattern: str, text: str, kept: str) -> None:
    redactor = Redactor(patterns=[r"unlikely-\d", pattern])
    assert redacted(text, redactor) == kept
    assert redacted({"a": [text]}, redactor) == {"a": [kept]}
    assert redacted(KEY, redactor) == REDACTED


@pytest.mark.parametrize(
    ("patterns", "why"),
    [
        (["("], "no regular expression"),
        (["a", "*"], "no regular expression"),
        (["a{99999999999}"], "no regular expression"),
        (["a*"], "empty text"),
        ([""], "empty text"),
        ([r"\b"], "empty text"),
        (["(?=a)"], "empty text"),
        (["$"], "empty text"),
        (["a" * 501], "500 characters"),
    ],
)
def test_what_is_no_pattern_is_refused(patterns: list[str], why: str) -> None:
    with pytest.raises(BadPattern, match=why):
        Redactor(patterns=patterns)
