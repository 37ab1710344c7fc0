"""The text of a file, whatever its encoding."""

import codecs
import os
import re
from pathlib import Path
from typing import NamedTuple

from gamepruning.types import InputError

File = str | os.PathLike[str]
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SIGNED = "utf-8-sig"
_ODD_WORD = re.compile(r"[\w’-]*[^\x00-\x7f][\w’-]*")


class Decoded(NamedTuple):
    """A file as text."""

    text: str
    encoding: str  # "utf-8", "utf-16" or "cp1252"
    notes: tuple[str, ...]  # what was guessed, a line each


def decode(path: File) -> Decoded:
    """The text of a file; what is not Unicode is taken for Windows-1252.

    Raises:
      InputError: the file cannot be read, is not text, or has another encoding.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    encoding = _unicode_of(data)
    try:
        text = data.decode(encoding)
        notes = () if encoding == _SIGNED else ("read as UTF-16 text",)
    except UnicodeDecodeError:
        encoding, text = "cp1252", _decode_western(path, data)
        notes = (_guess(text),)
    if "\n" not in text:
        text = text.replace("\r", "\n")  # as old Macs end lines
    if "\0" in text:
        raise InputError(f"cannot read {path}: it is not a text file")
    return Decoded(text, {_SIGNED: "utf-8"}.get(encoding, encoding[:6]), notes)


def _unicode_of(data: bytes) -> str:
    odd = data[1:2000:2]
    if data.startswith(_UTF16):
        return "utf-16"
    if odd and odd.count(0) > 0.4 * len(odd) and not data[0:2000:2].count(0):
        return "utf-16-le"
    return _SIGNED


def _decode_western(path: File, data: bytes) -> str:
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"cannot read {path}: row {line} is neither UTF-8 nor Windows-1252 "
            f"(byte 0x{data[error.start]:02x}): save the file as UTF-8"
        ) from None


def _guess(text: str) -> str:
    words = dict.fromkeys(_ODD_WORD.findall(text))
    shown = ", ".join(map(repr, list(words)[:3]))
    return (
        "not UTF-8, so read as Windows-1252 (Western European; Mac Roman and others "
        f"look like it): if {shown} should read otherwise, save the file as UTF-8"
    )
