"""
The config in a playground's URL: JSON, compressed as lz-string's "encoded URI component".

The format is LZ78 over UTF-16 code units. A code has as many bits as the dictionary needs
at that point, its lowest bit first, and six bits make a character. Codes 0 and 1
introduce a new unit of 8 or 16 bits, 2 ends the text, and each later code names an entry.
"""

import json
import struct
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any

from runnables.payload import Limits, parse

MAX_HASH = 8 * 1024
MAX_TEXT = 64 * 1024
LIMITS = Limits(size=MAX_TEXT)

ALPHABET = ascii_uppercase + ascii_lowercase + digits + "+-"
BITS = {character: f"{value:06b}" for value, character in enumerate(ALPHABET)}
# A form decoder turns "+" into a space; "$" is lz-string's padding and reads as zeros.
BITS |= {" ": BITS["+"], "$": "000000"}

NEW_BYTE, NEW_UNIT, END = range(3)
UNIT_BITS = {NEW_BYTE: 8, NEW_UNIT: 16}


class BadConfigHash(ValueError):
    """
    The config hash is not one that `encode` could have made.
    """

    status = 400
    code = "invalid_config_hash"
    message = "Invalid config hash"

    def __init__(self) -> None:
        super().__init__(self.message)


def decode(config_hash: str) -> dict[str, Any]:
    """
    The config in a hash; an empty hash is an empty config.
    """
    if not config_hash:
        return {}
    try:
        config = parse(decompress(config_hash).encode(), LIMITS)
    except ValueError:
        raise BadConfigHash from None
    if not isinstance(config, dict):
        raise BadConfigHash
    return config


def encode(config: dict[str, Any]) -> str:
    """
    The hash of a config, spelled as `JSON.stringify` would; `decode` takes it back.
    """
    try:
        text = json.dumps(config, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        parse(text.encode(), LIMITS)
    except (ValueError, RecursionError):
        raise BadConfigHash from None
    config_hash = compress(text)
    if len(config_hash) > MAX_HASH:
        raise BadConfigHash
    return config_hash


def decompress(config_hash: str) -> str:
    """
    The text in a hash. A few characters can stand for megabytes: it stops at MAX_TEXT.
    """
    if len(config_hash) > MAX_HASH:
        raise BadConfigHash
    bits = BitReader(config_hash)
    entries = ["", "", ""]
    text: list[str] = []
    size = 0
    previous = ""
    while (code := bits.take(len(entries).bit_length())) != END:
        if code in UNIT_BITS:
            entries.append(chr(bits.take(UNIT_BITS[code])))
            code = len(entries) - 1
        if code < len(entries):
            entry = entries[code]
        elif code == len(entries) and previous:
            entry = previous + previous[0]
        else:
            raise BadConfigHash
        size += len(entry)
        if size > MAX_TEXT:
            raise BadConfigHash
        if previous:
            entries.append(previous + entry[0])
        text.append(entry)
        previous = entry
    return joined_pairs("".join(text))


class BitReader:
    def __init__(self, config_hash: str) -> None:
        try:
            self.bits = "".join([BITS[character] for character in config_hash])
        except KeyError:
            raise BadConfigHash from None
        self.position = 0

    def take(self, count: int) -> int:
        start = self.position
        self.position += count
        if self.position > len(self.bits):
            raise BadConfigHash
        return int(self.bits[start : self.position][::-1], 2)


def compress(text: str) -> str:
    """
    The text as lz-string's `compressToEncodedURIComponent` writes it, bit by bit.
    """
    entries: dict[str, int] = {}
    unwritten: set[str] = set()
    bits: list[str] = []
    # What the decoder knows when it reads the next code: it lags one entry behind us.
    known = 2

    def write(phrase: str) -> None:
        nonlocal known
        width = known.bit_length()
        if phrase in unwritten:
            unwritten.remove(phrase)
            kind = NEW_BYTE if ord(phrase) < 256 else NEW_UNIT
            bits.append(low_bit_first(kind, width))
            bits.append(low_bit_first(ord(phrase), UNIT_BITS[kind]))
            known += 1
        else:
            bits.append(low_bit_first(entries[phrase], width))
        known += 1

    phrase = ""
    for unit in utf16_units(text):
        if unit not in entries:
            entries[unit] = len(entries) + 3
            unwritten.add(unit)
        if phrase + unit in entries:
            phrase += unit
        else:
            write(phrase)
            entries[phrase + unit] = len(entries) + 3
            phrase = unit
    if phrase:
        write(phrase)
    bits.append(low_bit_first(END, known.bit_length()))
    return characters("".join(bits))


def low_bit_first(value: int, width: int) -> str:
    return f"{value:0{width}b}"[::-1]


def characters(bits: str) -> str:
    # There is always padding, even where the last character is already full.
    bits += "0" * (6 - len(bits) % 6)
    sextets = (bits[start : start + 6] for start in range(0, len(bits), 6))
    return "".join([ALPHABET[int(sextet, 2)] for sextet in sextets])


def utf16_units(text: str) -> str:
    """
    The text as JavaScript indexes it: an emoji is two characters, each half a pair.
    """
    units = text.encode("utf-16-le")
    return "".join(map(chr, struct.unpack(f"<{len(units) // 2}H", units)))


def joined_pairs(units: str) -> str:
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
