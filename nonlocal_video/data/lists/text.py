"""Texts that people give: lists of videos and files of classes, whatever wrote them."""

import codecs
import io
from collections.abc import Iterator
from typing import TextIO

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def is_text(path: str) -> bool:
    """Whether a file begins as a text does."""
    with open(path, "rb") as file:
        head = file.read(4096)
    return head.startswith(_UTF16) or b"\0" not in head


def numbered_lines(path: str) -> Iterator[tuple[int, str]]:
    """The numbers and the texts, stripped, of all lines of a file that are not empty."""
    with open_text(path) as file:
        yield from ((number, line.strip()) for number, line in enumerate(file, 1) if line.strip())


def open_text(path: str, *, newline: str | None = None, errors: str = "surrogateescape") -> TextIO:
    """A text in UTF-8, with or without a byte order mark, or in UTF-16 with one, as Excel's "Unicode text" is.

    `newline` and `errors` are those of `open`: "" leaves line ends as they are, for the module csv, and the default for
    errors keeps the bytes of file names in other encodings.

    Raises:
        ValueError: a file that is no text, or a text in another form of Unicode.
    """
    with open(path, "rb") as file:
        is_utf16 = file.read(2) in _UTF16
        file.seek(0)
        content = file.read() if is_utf16 else file.read(4096)
    try:
        text = content.decode("utf-16" if is_utf16 else "latin-1")  # Latin-1 takes any bytes.
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: its byte order mark says UTF-16, but it is not: {error}") from error
    if "\0" in text[:4096]:
        raise ValueError(
            f"{path}: not a text file in UTF-8, nor in UTF-16 with a byte order mark (got zero bytes); if it is a "
            "text, save it as UTF-8"
        )
    if is_utf16:
        return io.StringIO(text, newline=newline)
    return open(path, encoding="utf-8-sig", errors=errors, newline=newline)
