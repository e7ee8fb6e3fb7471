"""Rich messages: a small subset of HTML, cleaned when written, so that what is stored is safe to show.

Guarantees: the cleaned text holds the elements of `ELEMENTS` and no attribute but a link's `href`, which is
http, https or a path of the application's own. Only messages of events with the format `rich` are markup;
everything else is text, whatever stands in it.
"""

from __future__ import annotations

import html
from html.parser import HTMLParser

import nh3

from shared.errors import InvalidInput
from shared.texts import MAX_MESSAGE, check_message, is_blank, is_web_link

PLAIN, RICH = "plain", "rich"
ELEMENTS = frozenset({"b", "i", "em", "strong", "a", "ul", "ol", "li", "p", "br", "code"})
BREAKING = frozenset({"p", "br", "li", "ul", "ol"})  # what follows stands on a line of its own


def _own_link(element: str, attribute: str, value: str) -> str | None:
    return value if is_web_link(value) else None


# Thread-safe: a cleaner holds no state of the text that it cleans.
CLEANER = nh3.Cleaner(
    tags=set(ELEMENTS),
    attributes={"a": {"href"}},
    attribute_filter=_own_link,
    url_schemes={"http", "https"},
    link_rel=None,  # the page that shows it decides, and our inbox does
)


def clean_rich(name: str, value: str, longest: int = MAX_MESSAGE) -> str:
    """The message as it may be stored and shown.

    Raises: InvalidInput when nothing to read is left; TooLarge when it has grown: elements that were left
    open are repeated in every paragraph.
    """
    cleaned = CLEANER.clean(value)
    if is_blank(plain_text(cleaned)):
        raise InvalidInput.field(name, value, f"text in the elements {', '.join(sorted(ELEMENTS))}")
    return check_message(name, cleaned, longest)


def rich_from_plain(value: str) -> str:
    """A plain text as rich: shown as it is, markup in it included."""
    return html.escape(value, quote=False).replace("\r\n", "\n").replace("\n", "<br>")


def plain_text(value: str) -> str:
    """What a reader of a rich message reads, for whatever shows no markup: one line per paragraph and item."""
    reader = _Reader()
    reader.feed(value)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.parts).split("\n"))
    return "\n".join(line for line in lines if line)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in BREAKING:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self.handle_starttag(tag, [])
