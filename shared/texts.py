"""What a text may be: storable, readable, not empty, not too long; and which links may stand in one.

Storable is all but NUL and lone surrogates: PostgreSQL, JSON and UTF-8 can hold that. Readable is what shows
as it is written: no control characters, and nothing that shows letters in another order than they stand in.
Right-to-left languages need none of that, emoji and scripts keep their joiners.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any
from urllib.parse import urlsplit

from shared.errors import InvalidInput, TooLarge

MAX_TITLE = 200  # characters
MAX_MESSAGE = 4000  # characters

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# A message may have lines, tabs and, for quotations in the other direction, embeddings and isolates: they end
# with their line. Overrides make "gpj.exe" of "exe.jpg" (UAX 9; https://trojansource.codes).
NOT_IN_MESSAGE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202d\u202e]+")
# A line stands beside others', in lists, menus and subjects: no direction may reach out of it.
LINE_BREAKERS = "\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
NOT_IN_LINE = re.compile(f"[{LINE_BREAKERS}]+")
# A name is compared, letter by letter: what can't be seen would make two of one. Titles need some of these.
UNNAMEABLE = LINE_BREAKERS + "\xad\u061c\u200b-\u200f\u2060-\u2064\ufeff"
NOT_IN_NAME = re.compile(f"[{UNNAMEABLE}]+")
EMPTY = frozenset(("Cc", "Cf", "Zs", "Zl", "Zp"))  # categories of what shows nothing by itself
FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # and letters and signs that are drawn as a space


def is_storable(value: str) -> bool:
    """Whether a text can be stored and sent as it is. Python and JSON escapes let more through."""
    return UNSTORABLE.search(value) is None


def fold(value: str) -> str:
    """A text as it is searched and compared: without accents and case."""
    decomposed = unicodedata.normalize("NFKD", value)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter)).casefold()


def is_blank(value: str) -> bool:
    """Whether a text shows nothing at all."""
    return all(letter in FILLERS or unicodedata.category(letter) in EMPTY for letter in value)


def check_text(name: str, value: Any, longest: int) -> str:
    """The text itself. Raises: InvalidInput, TooLarge, naming the field, for what is not 1 to `longest` characters."""
    expected = f"a text of 1 to {longest} characters"
    if not isinstance(value, str) or is_blank(value):
        raise InvalidInput.field(name, value, expected)
    if len(value) > longest:
        raise TooLarge(
            f"{name}: expected {expected}, got {len(value)} characters",
            field=name,
            expected=expected,
            length=len(value),
        )
    if not is_storable(value):
        raise InvalidInput.field(name, value, "Unicode text without NUL and lone surrogates")
    return value


def check_line(name: str, value: Any, longest: int) -> str:
    """A text for people in one line, such as a title. Raises: as `check_text`, and naming what can't stand in a line."""
    line = check_text(name, value, longest)
    refuse_in_line(name, line)
    return line


def check_message(name: str, value: Any, longest: int = MAX_MESSAGE) -> str:
    """A text for people in any number of lines, ended by "\\n". Raises: as `check_text`, and naming what can't stand in it."""
    message = check_text(name, value, longest).replace("\r\n", "\n")
    _refuse(name, message, NOT_IN_MESSAGE, "a text without control characters (but line breaks and tabs)")
    return message


def refuse_in_line(name: str, value: str) -> None:
    """Raises: InvalidInput naming the field, the character and its place, for what is not one readable line."""
    _refuse(name, value, NOT_IN_LINE, "one line without control characters")


def refuse_in_name(name: str, value: str, error: type[InvalidInput] = InvalidInput) -> None:
    """Raises: `error` naming the field, the character and its place, for a name in which not everything can be seen."""
    _refuse(name, value, NOT_IN_NAME, "a name without control and invisible characters", error)


def one_line(value: str) -> str:
    """The text as one readable line: a space for whatever can't stand in it."""
    return NOT_IN_LINE.sub(" ", value).strip()


def readable(value: str) -> str:
    """The text as a message: a space for whatever can't stand in it."""
    return NOT_IN_MESSAGE.sub(" ", value.replace("\r\n", "\n")).strip()


def is_web_link(value: str) -> bool:
    """http, https or a path of the application's own; anything else could run in a browser."""
    try:
        parts = urlsplit(value)
        absolute = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        absolute = False
    own_path = value.startswith("/") and not value.startswith(("//", "/\\"))
    return (absolute or own_path) and " " not in value and NOT_IN_LINE.search(value) is None


def _refuse(
    name: str, value: str, refused: re.Pattern[str], expected: str, error: type[InvalidInput] = InvalidInput
) -> None:
    found = refused.search(value)
    if found is not None:
        letter = found[0][0]
        character = f"U+{ord(letter):04X} {unicodedata.name(letter, '(a control character)')}"
        raise error(
            f"{name}: expected {expected}, got {character} at character {found.start() + 1}",
            field=name,
            expected=expected,
            character=character,
        )
