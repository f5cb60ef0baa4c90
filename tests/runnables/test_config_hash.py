"""
Config hashes against the PyPI package `lzstring`, which writes what the browser writes.
"""

import json
import random
import timeit
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lzstring import LZString

from runnables.config_hash import (
    MAX_HASH,
    MAX_TEXT,
    BadConfigHash,
    compress,
    decode,
    decompress,
    encode,
)

ORACLE = LZString()
TEXT = '{"tags": ["t"], "configurable": {"template": "X {name} {y}"}}'
HASH = "N4IgLghg5gziBcACA2uEBdANIkBjA9gHYBmAllAK4BOEARgDYCmCioYjAtgA70TssgAGq0IQOjAL6sAnhJASJQA"
CONFIG = {"tags": ["t"], "configurable": {"template": "X {name} {y}"}}


def halves(text: str) -> str:
    """
    The text as JavaScript has it, which the oracle leaves to us.
    """
    return "".join(
        character
        if ord(character) < 0x10000
        else chr(0xD7C0 + (ord(character) >> 10)) + chr(0xDC00 + (ord(character) & 0x3FF))
        for character in text
    )


def hash_of(text: str) -> str:
    return str(ORACLE.compressToEncodedURIComponent(halves(text)))


def text_in(config_hash: str) -> str:
    return str(ORACLE.decompressFromEncodedURIComponent(config_hash))


def assert_refused(config_hash: str) -> None:
    with pytest.raises(BadConfigHash) as caught:
        decode(config_hash)
    assert caught.value.status == 400
    assert caught.value.code == "invalid_config_hash"
    assert caught.value.message == str(caught.value) == "Invalid config hash"


ALPHABETS = [
    "ab",
    '{}[]":, aeiou',
    "".join(map(chr, range(1, 128))),
    "éüß日本語ñ€",
    "".join(map(chr, range(0x00F0, 0x0110))),
    "😀🎉a\U0010ffff\U00010000",
    "".join(map(chr, range(0x3000, 0x9000))),
]


def random_texts() -> list[str]:
    random_ = random.Random(20_240_601)
    return [
        "".join(random_.choices(random_.choice(ALPHABETS), k=length))
        for length in random_.choices([0, 1, 2, 3, 7, 20, 100, 500], k=1_000)
    ]


# The format


def test_documented_hash_reads_and_writes() -> None:
    assert decompress(HASH) == TEXT
    assert compress(TEXT) == HASH
    assert decode(HASH) == CONFIG


def test_we_read_what_the_oracle_writes() -> None:
    for text in random_texts():
        assert decompress(hash_of(text)) == text


def test_we_write_what_the_oracle_writes() -> None:
    for text in random_texts():
        assert compress(text) == hash_of(text)


def test_the_oracle_reads_what_we_write() -> None:
    for text in random_texts():
        assert text_in(compress(text)) == halves(text)


@given(st.text(st.characters(codec="utf-8"), max_size=300))
def test_any_text_survives(text: str) -> None:
    assert decompress(compress(text)) == text
    assert compress(text) == hash_of(text)


@pytest.mark.parametrize("length", range(1, 60))
def test_repeated_text_survives_at_every_length(length: int) -> None:
    for text in ("a" * length, "ab" * length, "日" * length, "😀" * length):
        assert compress(text) == hash_of(text)
        assert decompress(compress(text)) == text


# Configs


@pytest.mark.parametrize(
    "config",
    [
        {},
        CONFIG,
        {"configurable": {"template": '日本語 é 😀 {name}\n\t"quoted" \\'}},
        {"metadata": {"a": [1, -2.5, True, None, {}, []]}, "recursion_limit": 10},
        {"tags": ["x" * 1_000] * 20},
    ],
)
def test_configs_survive(config: dict[str, Any]) -> None:
    assert decode(encode(config)) == config


def test_hash_is_the_browsers() -> None:
    config = {"configurable": {"name": "é 😀", "n": 1.5}, "tags": ["a", "b"]}
    stringified = '{"configurable":{"name":"é 😀","n":1.5},"tags":["a","b"]}'
    assert encode(config) == hash_of(stringified)


def test_no_hash_is_an_empty_config() -> None:
    assert decode("") == {}


def test_spaces_are_the_plus_signs_a_form_decoder_took() -> None:
    config = {"configurable": {"template": "Hello {name}"}}
    assert "+" in encode(config)
    assert decode(encode(config).replace("+", " ")) == config


def test_padding_is_ignored() -> None:
    assert decode(HASH + "$") == decode(HASH + "$$$") == CONFIG


def test_characters_outside_the_basic_plane_are_two_units() -> None:
    assert compress("😀") == ORACLE.compressToEncodedURIComponent("\ud83d\ude00")
    assert decode(hash_of('{"a": "😀"}')) == {"a": "😀"}


@pytest.mark.parametrize("half", ["\\ud83d", "\\ude00", "\\ude00\\ud83d"])
def test_half_surrogate_pairs_are_refused(half: str) -> None:
    half = json.loads(f'"{half}"')
    assert_refused(ORACLE.compressToEncodedURIComponent(f'{{"a": "{half}"}}'))
    with pytest.raises(BadConfigHash):
        encode({"a": half})


NOT_OBJECTS = r"""
{
[]
[{}]
null
1
"text"
not json
{} {}
{"a": NaN}
{"a": 1e999}
{"a": 1, "a": 2}
{"a": "\u0000"}
{"a": "\ud800"}
"""
TOO_DEEP = '{"a":' * 65 + "1" + "}" * 65


@pytest.mark.parametrize(
    "text", ["", *NOT_OBJECTS.strip().split("\n"), '{"a": "\0"}', "\ufeff{}", TOO_DEEP]
)
def test_text_that_is_no_strict_json_object_is_refused(text: str) -> None:
    assert_refused(hash_of(text))


@pytest.mark.parametrize("character", "=!/_%é\0\n\t日😀\u0661\ud800")
def test_characters_outside_the_alphabet_are_refused(character: str) -> None:
    for config_hash in (character, HASH + character, HASH[:9] + character + HASH[10:]):
        assert_refused(config_hash)


@pytest.mark.parametrize("config_hash", ["A", "Q", "$", " ", "-", "A" * 50, "-" * 50])
def test_codes_that_mean_nothing_are_refused(config_hash: str) -> None:
    assert_refused(config_hash)


def test_truncated_hash_is_refused_at_every_character() -> None:
    for length in range(1, len(HASH)):
        assert_refused(HASH[:length])


def test_mutated_hashes_are_read_or_refused() -> None:
    random_ = random.Random(20_240_602)
    alphabet = [*HASH, *"AZaz09+-$ =\0é"]
    for _ in range(3_000):
        characters = list(HASH)
        for _ in range(random_.randint(1, 4)):
            characters[random_.randrange(len(HASH))] = random_.choice(alphabet)
        decoded_or_refused("".join(characters))


@given(st.text(st.sampled_from("AQgBCDEFNIw+-$ 4"), max_size=100))
def test_random_hashes_are_read_or_refused(config_hash: str) -> None:
    decoded_or_refused(config_hash)


@given(st.text(max_size=50))
def test_random_text_is_read_or_refused(config_hash: str) -> None:
    decoded_or_refused(config_hash)


def decoded_or_refused(config_hash: str) -> bool:
    try:
        config = decode(config_hash)
    except BadConfigHash:
        return False
    assert isinstance(config, dict)
    return True


# Bounds


def json_of(size: int, character: str = "a") -> str:
    frame = '{"a":""}'
    return frame[:-2] + character * (size - len(frame)) + frame[-2:]


def test_text_is_limited_to_the_byte() -> None:
    assert len(encode(json.loads(json_of(MAX_TEXT)))) < 1_000
    assert len(decode(hash_of(json_of(MAX_TEXT)))["a"]) == MAX_TEXT - 8
    assert_refused(hash_of(json_of(MAX_TEXT + 1)))


def test_text_is_counted_in_bytes() -> None:
    assert decode(hash_of(json_of(20_000, "日")))
    assert_refused(hash_of(json_of(30_000, "日")))


def random_config(length: int) -> dict[str, str]:
    return {"a": "".join(random.Random(7).choices("abcdefgh0123456789", k=length))}


def test_hash_is_limited_to_the_character() -> None:
    config_hash = encode(random_config(9_000))
    assert len(config_hash) < MAX_HASH
    assert decode(config_hash.ljust(MAX_HASH, "A")) == random_config(9_000)
    assert_refused(config_hash.ljust(MAX_HASH + 1, "A"))


def test_config_too_large_for_a_hash_is_not_encoded() -> None:
    with pytest.raises(BadConfigHash):
        encode(random_config(20_000))
    with pytest.raises(BadConfigHash):
        encode({"a": "a" * MAX_TEXT})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\0", 10**400])
def test_config_that_would_not_come_back_is_not_encoded(value: object) -> None:
    with pytest.raises(BadConfigHash):
        encode({"a": value})


def bomb(size: int) -> str:
    """
    A hash for `size` times the same character, roughly the square of its own length.
    """
    return hash_of("a" * size)


@pytest.mark.parametrize(
    "config_hash",
    [
        pytest.param(bomb(100_000), id="small"),
        pytest.param(bomb(3_000_000), id="large"),
        pytest.param("A" * MAX_HASH, id="zeros"),
        pytest.param("-" * MAX_HASH, id="ones"),
        pytest.param("a" * 10_000_000, id="long"),
    ],
)
def test_bombs_are_refused_in_little_memory(config_hash: str) -> None:
    tracemalloc.start()
    try:
        assert_refused(config_hash)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


def test_no_hash_takes_long() -> None:
    random_ = random.Random(3)
    alphabet = HASH + "+-$"
    hostile = ["".join(random_.choices(alphabet, k=MAX_HASH)) for _ in range(20)]
    hostile += [bomb(300_000), "A" * MAX_HASH, encode(random_config(9_000))]
    honest = hash_of(json_of(2_000, "é"))
    # A thousand times a hash of a few dozen characters is still some milliseconds.
    limit = 1_000 * fastest(honest)
    assert max(fastest(config_hash) for config_hash in hostile) < limit


def fastest(config_hash: str) -> float:
    return min(timeit.repeat(lambda: decoded_or_refused(config_hash), number=1, repeat=3))
