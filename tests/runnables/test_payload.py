"""
The JSON parser against a seeded corpus: it answers or raises `BadPayload`, nothing else.
"""

import json
import random
import timeit
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnables.payload import DEFAULT, BadPayload, Limits, parse

MIB = 1024 * 1024
ENTER, LEAVE = {"[": "[", "{": '{"a":'}, {"[": "]", "{": "}"}


def refusal(body: bytes | str, limits: Limits = DEFAULT) -> BadPayload:
    with pytest.raises(BadPayload) as caught:
        parse(body.encode() if isinstance(body, str) else body, limits)
    assert caught.value.message.endswith(".")
    assert len(caught.value.message) < 200
    return caught.value


def accepted(body: bytes) -> bool:
    """
    Whether the body passes; what passes must be what Python's own parser reads.
    """
    try:
        value = parse(body)
    except BadPayload:
        return False
    assert same(value, json.loads(body))
    return True


def same(one: object, other: object) -> bool:
    """
    Equality that tells 1 from 1.0 and True, and -0.0 from 0.0.
    """
    return repr(one) == repr(other)


def nested(depth: int, brackets: str, inside: str = "1") -> str:
    kinds = [brackets[level % len(brackets)] for level in range(depth)]
    opening = "".join(ENTER[kind] for kind in kinds)
    return opening + inside + "".join(LEAVE[kind] for kind in reversed(kinds))


def filled(unit: bytes, size: int = MIB) -> bytes:
    return (unit * (size // len(unit) + 1))[:size]


# What is accepted


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        "[]",
        "null",
        "true",
        '""',
        "0",
        ' \t\r\n{"input": 1}\n',
        '{"input": {"a": [1, 2.5, -3e2, "x", null, true]}}',
        '"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9"',
        '"日本語 😀 \\ud83d\\ude00 \\uD83D\\uDE00"',
        '"\\\\u0000 \\\\ud800 \\\\\\\\u0000"',
        '"\\u0001\\u001f\\ufeff\\uffff\\ud7ff\\ue000"',
        '{"__proto__": 1, "__class__": 2, "lc": 1, "type": "constructor"}',
        '{"a": {"a": {"a": 1}}, "b": {"a": 1}}',
        '{"": ""}',
    ],
)
def test_ordinary_json_is_read_as_python_reads_it(body: str) -> None:
    assert accepted(body.encode())


FINITE = r"""
-0
-0.0
1e-400
1E5
18446744073709551616
1.7976931348623157e308
0e999
"""


@pytest.mark.parametrize("number", [*FINITE.split(), "9" * 308, "-" + "9" * 307, "0." + "3" * 306])
def test_unusual_but_finite_numbers_pass(number: str) -> None:
    assert accepted(number.encode())
    assert accepted(f'{{"a": [{number}]}}'.encode())


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inside: st.lists(inside) | st.dictionaries(TEXT, inside),
)


@given(JSON, st.booleans())
def test_whatever_python_writes_is_read_back(value: object, ensure_ascii: bool) -> None:
    body = json.dumps(value, ensure_ascii=ensure_ascii).encode()
    assert same(parse(body), value)


# What is refused, and how


MALFORMED = r"""
{
[
]
,
[}
[1,]
[1 2]
[1]//
/**/1
{"a":1,}
{'a':1}
{"a"}
{1:2}
{} {}
tru
nul
nan
infinity
undefined
01
1.
.5
+1
1e
0x1
--1
-
"a
\
\"
"\x"
"\u12"
"\u12g4"
"""
CONTROLS = ['"\t"', '"\n"', '"\x01"', "\x0b1", "\xa0{}", "\x1f"]


@pytest.mark.parametrize("body", ["", " \n", *MALFORMED.strip().split("\n"), *CONTROLS])
def test_malformed_json_is_refused(body: str) -> None:
    problem = refusal(body)
    assert (problem.code, problem.status) == ("invalid_json", 422)


def test_syntax_error_says_where_it_is() -> None:
    problem = refusal('{"a": 1,\n "b": ?}')
    assert problem.message == (
        "The body is not valid JSON: expecting value at line 2, column 7 (offset 15)."
    )
    assert str(problem) == problem.message


def test_unterminated_string_is_named_where_it_starts() -> None:
    assert "string starting at line 1, column 2 (offset 1)" in refusal('["a]').message


@pytest.mark.parametrize("body", [b"", b"  ", b"\n"])
def test_empty_body_is_called_empty(body: bytes) -> None:
    assert refusal(body).message == "The body is empty; send a JSON document."


JAPANESE = '{"input": "日本語"}'
WIDE = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf{}",
        *(JAPANESE.encode(encoding) for encoding in [*WIDE, "utf-8-sig", "shift-jis"]),
        *('{"a": 1}'.encode(encoding) for encoding in WIDE),
        '"é"'.encode("latin-1"),
        b'"\xff"',
        b'"\x80"',
        b'"\xc0\xaf"',
        b'"\xc1\x81"',
        b'"\xe0\x80\xaf"',
        b'"\xf0\x80\x80\xaf"',
        b'"\xed\xa0\x80"',
        b'"\xed\xa0\xbd\xed\xb8\x80"',
        b'"\xf4\x90\x80\x80"',
        b'"\xe6\x97"',
        b'{"\xff": 1}',
        b"\xff",
    ],
)
def test_other_encodings_are_refused(body: bytes) -> None:
    assert refusal(body).code == "invalid_encoding"


HALF_PAIRS = r"""
\ud800
\udfff
\uD83D
\ude00\ud83d
\ud83d\ud83d\ude00
\ud83d\ude00\ude00
\ud83dx\ude00
\ud83d\\\ude00
\\\udc00
\ud83d\n
\ud83d😀
x\ud83d\u0041
"""


@pytest.mark.parametrize("text", HALF_PAIRS.split())
def test_half_surrogate_pairs_are_refused(text: str) -> None:
    for body in (f'"{text}"', f'{{"{text}": 1}}', f'[[{{"a": "x{text}"}}]]'):
        assert refusal(body).code == "invalid_encoding"


def test_half_surrogate_pair_says_where_it_is() -> None:
    assert "at offset 9 is half" in refusal('["\\\\a", "\\ud800"]').message


@pytest.mark.parametrize("text", ["\0", "\\u0000", "a\\u0000b", "\\\\\\u0000", "é\0"])
def test_nul_is_refused_everywhere(text: str) -> None:
    for body in (f'["{text}"]', f'{{"{text}": 1}}', f'{{"a": {{"b": ["x{text}"]}}}}'):
        assert refusal(body).code == "invalid_character"


def test_nul_says_where_it_is() -> None:
    assert "at offset 3;" in refusal('["é\0"]').message
    assert "at offset 4;" in refusal('["\\\\\\u0000"]').message


INFINITE = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e309", "1.8e308"]
TOO_LONG = ["9" * 309, "-" + "9" * 308, "9" * 5_000, "9" * 100_000, "0." + "1" * 307]


@pytest.mark.parametrize("number", [*INFINITE, *TOO_LONG, "1e" + "9" * 400])
def test_numbers_we_cannot_hold_are_refused(number: str) -> None:
    for body in (number, f"[1, {number}]", f'{{"a": {{"b": {number}}}}}'):
        assert refusal(body).code == "invalid_number"


def test_interpreter_limit_on_integers_is_our_error() -> None:
    problem = refusal("9" * 5_000, Limits(number_length=10_000))
    assert problem.code == "invalid_number"


def test_digits_in_text_are_no_number() -> None:
    assert accepted(json.dumps({"9" * 400: "1e999 NaN " + "9" * 5_000}).encode())


@pytest.mark.parametrize(
    "body",
    [
        '{"a": 1, "a": 1}',
        '{"a": 1, "b": 2, "a": 3}',
        '[[{"x": {"a": 1, "\\u0061": 2}}]]',
        '{"": 1, "": 2}',
        '{"é": 1, "\\u00e9": 2}',
        "{" + '"a": 1,' * 500 + '"a": 1}',
    ],
)
def test_duplicate_keys_are_refused(body: str) -> None:
    problem = refusal(body)
    assert (problem.code, problem.status) == ("duplicate_key", 422)


def test_duplicate_key_is_named_in_short() -> None:
    key = "k" * 1_000
    problem = refusal(json.dumps({"a": 1, key: 2})[:-1] + f', "{key}": 3}}')
    assert f'"{"k" * 40}"' in problem.message


# Limits


def test_size_is_limited_to_the_byte() -> None:
    assert accepted(b'"' + b"a" * (MIB - 2) + b'"')
    problem = refusal(b'"' + b"a" * (MIB - 1) + b'"')
    assert (problem.code, problem.status) == ("too_large", 413)
    assert "1,048,576 bytes" in problem.message


def test_size_counts_bytes_not_characters() -> None:
    assert accepted('"é"'.encode())
    assert refusal('"é"', Limits(size=3)).code == "too_large"


@pytest.mark.parametrize("brackets", ["[", "{", "[{", "{["])
def test_depth_is_limited_to_the_level(brackets: str) -> None:
    assert accepted(nested(64, brackets).encode())
    assert accepted(f"[{nested(63, brackets)}, {nested(63, brackets)}]".encode())
    problem = refusal(nested(65, brackets))
    assert (problem.code, problem.status) == ("too_deep", 422)
    assert "deeper than 64 levels" in problem.message


@pytest.mark.parametrize("brackets", ["[", "{", "[{"])
@pytest.mark.parametrize("depth", [65, 66, 300, 1_000, 5_000, 50_000, 100_000])
def test_deep_nesting_is_refused_wherever_it_is(depth: int, brackets: str) -> None:
    inside = nested(depth, brackets)
    for body in (inside, f'{{"input": {inside}}}', f'{{"a": [], "config": {inside}}}'):
        assert refusal(body).code == "too_deep"


def test_deep_nesting_after_many_values_is_refused() -> None:
    values = ",".join(['{"a":1}'] * 9_000 + ["1"] * 80_000)
    assert refusal(f"[{values},{nested(64, '[')}]").code == "too_deep"


def test_wide_lists_of_lists_are_not_deep() -> None:
    assert accepted(b"[" + b"[]," * 40_000 + b"[]]")


@pytest.mark.parametrize("text", ["[" * 1_000, "{" * 1_000, '\\"[' * 500, "\\\\[" * 99])
def test_brackets_in_text_are_not_nesting(text: str) -> None:
    assert accepted(f'"{text}"'.encode())
    assert accepted(f'{{"{text}": "{text}", "b": ["{text}", ["{text}"]]}}'.encode())
    assert refusal(f'["{text}", {nested(64, "[")}]').code == "too_deep"


def test_nesting_beyond_the_stack_is_our_error() -> None:
    body = nested(200_000, "[")
    assert refusal(body, Limits(depth=10**6, nodes=10**6)).code == "too_deep"


def test_keys_are_limited_over_all_objects_together() -> None:
    one = json.dumps({f"k:{number}": 1 for number in range(10_000)})
    assert accepted(one.encode())
    problem = refusal(f"[{one}, {{'a': 1}}]".replace("'", '"'))
    assert (problem.code, problem.status) == ("too_many_keys", 422)
    assert "10,000 keys" in problem.message


def test_colons_in_text_are_no_keys() -> None:
    assert accepted(json.dumps({"a": ":" * 20_000, ":" * 20_000: 1}).encode())


def test_values_are_limited() -> None:
    assert accepted(json.dumps([1] * 99_999).encode())
    problem = refusal(json.dumps([1] * 100_000))
    assert (problem.code, problem.status) == ("too_many_nodes", 422)
    assert "100,000 values" in problem.message


def test_commas_in_text_are_no_values() -> None:
    assert accepted(json.dumps([",", "," * 200_000]).encode())


def measured(value: object) -> tuple[int, int, int]:
    """
    Depth, keys and nodes as the obvious recursion has them.
    """
    if not isinstance(value, list | dict):
        return 0, 0, 1
    children = [measured(child) for child in children_of(value)]
    depth = max((child[0] for child in children), default=0)
    keys = sum(child[1] for child in children)
    nodes = sum(child[2] for child in children)
    own_keys = len(value) if isinstance(value, dict) else 0
    return depth + 1, keys + own_keys, nodes + (1 if value else 2)


def children_of(value: list[object] | dict[str, object]) -> list[object]:
    return list(value.values()) if isinstance(value, dict) else value


TRICKY = st.text(st.sampled_from('[]{}:,"\\/ au0é日😀'), max_size=6)
SMALL_JSON = st.recursive(
    st.none() | st.integers(-9, 9) | TRICKY,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(TRICKY, inside, max_size=4),
    max_leaves=20,
)


@given(SMALL_JSON, st.sampled_from([None, 1]), st.booleans())
def test_limits_are_exact(value: object, indent: int | None, ensure_ascii: bool) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=ensure_ascii).encode()
    depth, keys, nodes = measured(value)
    assert same(parse(body, Limits(depth=depth, keys=keys, nodes=nodes)), value)
    assert refusal(body, Limits(nodes=nodes - 1)).code == "too_many_nodes"
    if keys:
        assert refusal(body, Limits(keys=keys - 1)).code == "too_many_keys"
    if depth:
        assert refusal(body, Limits(depth=depth - 1)).code == "too_deep"


# The corpus

SEEDS = [
    '{"input": "tell me a joke", "config": {"tags": ["a"]}, "kwargs": {}}',
    '{"inputs": [{"topic": "cats"}, {"topic": "d\\u00f6gs"}], "config": [{}, {}]}',
    '{"input": {"messages": [{"type": "human", "content": "hi \\"you\\" \\\\ 😀"}]}}',
    '[1, -2.5e10, 0, true, false, null, "\\ud83d\\ude00", [[[]]], {"a": {"b": {}}}]',
    '"just text \\n\\t"',
    "-12.5e-3",
]
SPLICES = [b'"', b"\\", b"[", b"]", b"{", b"}", b",", b":", b"\0", b"\\u0000", b"NaN"]
SPLICES += [b"\\ud800", b"\xff", b"\xef\xbb\xbf", b"1e999", b"9" * 400, b"[" * 70]
SPLICES += ["日".encode(), b" ", b"\n", b"-", b"e", b".", b'"a":1,', b"//"]


def mutated(random_: random.Random) -> bytes:
    body = bytearray(random_.choice(SEEDS).encode())
    for _ in range(random_.randint(1, 3)):
        at, until = sorted(random_.choices(range(len(body) + 1), k=2))
        match random_.randrange(5):
            case 0 if at < len(body):
                body[at] ^= 1 << random_.randrange(8)
            case 1:
                del body[at:]
            case 2:
                del body[at:until]
            case 3:
                body[at:at] = body[at:until]
            case _:
                body[at:at] = random_.choice(SPLICES)
    return bytes(body)


def test_mutated_json_is_read_or_refused() -> None:
    random_ = random.Random(20_240_601)
    results = [accepted(mutated(random_)) for _ in range(10_000)]
    assert 500 < sum(results) < 9_500


def test_truncated_json_is_refused_at_every_byte() -> None:
    for seed in SEEDS[:5]:
        body = seed.encode()
        assert accepted(body)
        assert not any(accepted(body[:end]) for end in range(len(body)))


@given(st.binary(max_size=200))
def test_random_bytes_are_read_or_refused(body: bytes) -> None:
    accepted(body)


@given(st.lists(st.sampled_from([*SPLICES, *b'[]{}",:01 a'.split()])).map(b"".join))
def test_random_fragments_are_read_or_refused(body: bytes) -> None:
    accepted(body)


# Time

LARGEST = {
    "opening": filled(b"["),
    "objects": filled(b'{"a":'),
    "pairs": filled(b"[]"),
    "quotes": filled(b'"'),
    "backslashes": filled(b"\\"),
    "backslashes in text": b'"' + filled(b"\\", MIB - 1),
    "escaped quotes": b'"' + filled(b'\\"', MIB - 1),
    "unterminated": b'"' + filled(b"a", MIB - 1),
    "unterminated escapes": filled(b'"a\\'),
    "commas": filled(b","),
    "colons": filled(b":"),
    "commas in strings": b"[" + filled(b'",",', MIB - 1),
    "brackets in strings": b"[" + filled(b'"[",', MIB - 1),
    "empty strings": b"[" + filled(b'"",', MIB - 1),
    "escapes": b'"' + filled(b"\\u", MIB - 1),
    "innocent escapes": b'"' + filled(b"\\\\u0000", MIB - 1),
    "surrogate pairs": b'"' + filled(b"\\ud83d\\ude00", MIB - 1),
    "half pairs": b'"' + filled(b"\\ud83d", MIB - 1),
    "digits": filled(b"9"),
    "long numbers": b"[" + filled(b"9" * 308 + b",", MIB - 1),
    "long fractions": b"[" + filled(b"2." + b"47" * 150 + b"e-324,", MIB - 1),
    "minus": filled(b"-"),
    "space": filled(b" "),
    "nul": filled(b"\0"),
    "not utf-8": filled(b"a", MIB - 1) + b"\xff",
    "deep lists": b"[" + filled(nested(63, "[").encode() + b",", 190_000),
    "floats": b"[" + b"1.2345678," * 90_000 + b"1]",
    "one key": b"{" + b'"a":1,' * 9_999 + b'"a":1}',
    "long keys": b"{" + b",".join(b'"%096d":0' % n for n in range(9_999)) + b"}",
}


@pytest.mark.parametrize("body", LARGEST.values(), ids=LARGEST)
def test_hostile_mebibyte_costs_little_more_than_an_honest_one(body: bytes) -> None:
    assert len(body) <= MIB
    honest = json.dumps([f"{number:06d}" for number in range(99_000)])
    cost = fastest(lambda: accepted_or_not(body))
    assert cost < 30 * fastest(lambda: json.loads(honest))


def accepted_or_not(body: bytes) -> None:
    with suppress(BadPayload):
        parse(body)


def fastest(call: Callable[[], object], times: int = 1) -> float:
    return min(timeit.repeat(call, number=times, repeat=5))


def test_small_body_costs_about_what_json_loads_costs() -> None:
    body = b'{"input": {"text": "hello"}, "config": {}, "kwargs": {"n":1}}'
    cost = fastest(lambda: parse(body), times=2_000)
    assert cost < 5 * fastest(lambda: json.loads(body), times=2_000)
