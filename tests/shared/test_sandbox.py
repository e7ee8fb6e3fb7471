"""What a template can do is listed; everything else is refused when saved, and nothing runs for long."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest

from shared.errors import InvalidInput, TooLarge
from shared.sandbox import MAX_SECONDS, MAX_SOURCE, RenderError, check_source, render

KNOWN = ("x", "y", "items", "stage")


def rendered(source: str, data: dict[str, Any], longest: int = 4000, *, escapes: bool = False) -> str:
    check_source("message", source, KNOWN)
    return render(source, data, longest, escapes=escapes)


@pytest.mark.parametrize(
    ("source", "data", "expected"),
    [
        ("Bonjour {{ x }} 🎉", {"x": "Zoé & <b>"}, "Bonjour Zoé & <b> 🎉"),
        ("{{ stage.title }}, {{ stage['id'] }}, {{ items[0] }}, {{ items[1:]|join }}", {"stage": {"title": "T", "id": 7}, "items": [1, 2, 3]}, "T, 7, 1, 2, 3"),
        ("{{ stage.items }} {{ stage.format }}", {"stage": {"items": 3, "format": "A4"}}, "3 A4"),
        ("{% for one in items %}{{ loop.index }}/{{ loop.length }} {{ one }}{{ '' if loop.last else ', ' }}{% endfor %}", {"items": ["a", "b"]}, "1/2 a, 2/2 b"),
        ("{% for one in items %}{{ one }}{% else %}none{% endfor %}", {"items": []}, "none"),
        ("{% if x > 3 and y is defined %}many{% elif x is odd %}odd{% else %}few{% endif %}", {"x": 2}, "few"),
        ("{{ (x + 1) * 2 / 4 }} {{ x % 2 }} {{ -x }} {{ 2.345|round(1) }} {{ 2.6|round }}", {"x": 3}, "2.0 1 -3 2.3 3"),
        ("{{ x|default('nobody')|upper }} {{ y|default(3) }}", {"x": "é"}, "É 3"),
        ("{{ x|truncate(8, leeway=0) }} {{ x|first }}{{ x|last }} {{ x|length }}", {"x": "a long text"}, "a... at 11"),
        ("[{{ x }}]", {"x": None}, "[]"),
        ("{% raw %}{{ x }}{% endraw %}{# said to nobody #}", {}, "{{ x }}"),
        ("{{ x }}", {"x": "{{ y }}{% for %}"}, "{{ y }}{% for %}"),
    ],
)  # fmt: skip
def test_what_is_needed_works(source: str, data: dict[str, Any], expected: str) -> None:
    assert rendered(source, data) == expected


@pytest.mark.parametrize(
    ("source", "line", "cause"),
    [
        ("a\nb {% if %}", 2, "Expected an expression"),
        ("{{ x }", 1, "unexpected '}'"),
        ("a\n\n{% for one in x %}", 3, "endfor"),
        ("a\n{{ nobody_knows }}\n", 2, "unknown variable 'nobody_knows'; known are: items, stage, x, y"),
        ("{% for one in items %}{% endfor %}\n{{ one }}", 2, "unknown variable 'one'"),
        ("{{ config }}", 1, "unknown variable 'config'"),
        ("{{ request.environ }}", 1, "unknown variable 'request'"),
        ("{{ self }}", 1, "can't be a variable"),
        ("{{ __builtins__ }}", 1, "can't be a variable"),
        ("{{ ''.__class__.__mro__ }}", 1, "'__mro__' can't be reached"),
        ("{{ x.__init__.__globals__ }}", 1, "can't be reached"),
        ("{{ x._private }}", 1, "can't be reached"),
        ("{{ x() }}", 1, "can't call"),
        ("{{ x.format(y) }}", 1, "can't call"),
        ("{% for one in range(10**9) %}{% endfor %}", 1, "can't call"),
        ("{{ lipsum() }}{{ cycler.__init__ }}", 1, "can't"),
        ("{{ 'a' * 10**9 }}", 1, "`pow`"),
        ("{{ 9**9**9 }}", 1, "`pow`"),
        ("{{ x|attr('y') }}", 1, "unknown filter 'attr'; known are: abs, "),
        ("{{ x|map(attribute='__class__')|list }}", 1, "unknown filter"),
        ("{{ x|safe }}", 1, "unknown filter 'safe'"),
        ("{{ '%0999999999d'|format(1) }}", 1, "unknown filter 'format'"),
        ("{{ x|_stepwise }}", 1, "unknown filter"),
        ("{{ x is callable }}", 1, "unknown test 'callable'"),
        ("{% set a = x ~ x %}", 1, "`assign`"),
        ("{% include 'x' %}", 1, "`include`"),
        ("{% import 'x' as y %}", 1, "`import`"),
        ("{% extends 'x' %}", 1, "`extends`"),
        ("{% macro m() %}{% endmacro %}", 1, "`macro`"),
        ("{% for one in items recursive %}{{ loop(one) }}{% endfor %}", 1, "can't"),
        ("{% autoescape false %}{{ x }}{% endautoescape %}", 1, ""),
        ("{{ " + "(" * 300 + "x" + ")" * 300 + " }}", 1, "too deeply nested"),
        ("{{ " + "not " * 900 + "x }}", 1, "too deeply nested"),
        ("{{ x" + "+x" * 700 + " }}", 1, "too deeply nested"),
        ("{{ x" + "|upper" * 600 + " }}", 1, "too deeply nested"),
        ("{{ " + "9" * 5000 + " }}", 1, "too deeply nested or too large"),
        ("{% if x %}" * 40 + "{% endif %}" * 40, 1, "too deeply nested"),
        ("{{ x }}" * 501, 1, "too large"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(source: str, line: int, cause: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_source("message", source, KNOWN)
    assert refused.value.message.startswith(f"message: line {line}: ")
    assert cause in refused.value.message
    assert (refused.value.details["field"], refused.value.details["line"]) == ("message", line)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("", InvalidInput),
        (" \n", InvalidInput),
        ("x" * (MAX_SOURCE + 1), TooLarge),
        ("\x00", InvalidInput),
        ("\ud800", InvalidInput),
    ],
)
def test_a_source_is_a_text_of_bounded_length(source: str, kind: type[InvalidInput]) -> None:
    with pytest.raises(kind):
        check_source("message", source, KNOWN)


HUGE_LIST = [1] * 8000
HUGE_TEXT = "y" * 12_000


@pytest.mark.parametrize(
    ("source", "data", "cause"),
    [
        ("{{ y }}", {}, "line 1: 'y' is undefined"),
        ("a\n{{ x.y }}", {"x": {}}, "line 2: 'dict object' has no attribute 'y'"),
        ("{{ x['__class__'] }}", {"x": "text"}, "line 1: there is no such item in [ ]"),
        ("{{ x[y] }}", {"x": "text", "y": "format"}, "line 1: there is no such item in [ ]"),
        ("{{ x[y] }}", {"x": {}, "y": "a secret"}, "line 1: there is no such item in [ ]"),
        ("{{ items[3] }}", {"items": [1]}, "line 1: there is no such item in [ ]"),
        ("{{ x.upper }}", {"x": "text"}, "no attribute 'upper'"),
        ("{{ 'a' * 1000000000 }}", {}, "`*` works on numbers"),
        ("{{ x * y }}", {"x": "a", "y": 10**9}, "`*` works on numbers"),
        ("{{ items * 1000000 }}", {"items": [1]}, "`*` works on numbers"),
        ("{{ '%0999999999d' % x }}", {"x": 1}, "`%` works on numbers"),
        ("{{ x / 0 }}", {"x": 1}, "ZeroDivisionError"),
        ("{{ 1|round(999999999) }}", {}, "at most 10 digits"),
        ("{{ x|join('" + "a" * 21 + "') }}", {"x": [1, 2]}, "at most 20 characters"),
        ("{{ items }}", {"items": [1]}, "can't be shown as it is"),
        ("{{ x }}", {"x": {"a": 1}}, "can't be shown as it is"),
        ("{{ (x ~ x)|title }}", {"x": HUGE_TEXT}, "at most 20000 characters"),
        ("{% for one in x %}{% endfor %}", {"x": 5}, "a loop goes over a list"),
        ("{% for one in items %}{% for other in items %}{% endfor %}{% endfor %}", {"items": HUGE_LIST}, "more than 1000 steps"),
        ("{% for one in items %}{{ one }}{% endfor %}", {"items": HUGE_LIST}, "more than 1000 steps"),
        ("{{ x }}{{ x }}", {"x": "a" * 2001}, "too long"),
    ],
)  # fmt: skip
def test_what_data_make_impossible_says_why(source: str, data: dict[str, Any], cause: str) -> None:
    with pytest.raises(RenderError, match="line ") as failed:
        rendered(source, data)
    assert cause in str(failed.value)


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in items %}{% if (y" + "~y" * 450 + ") == x %}{% endif %}{% endfor %}",
        "{% for a in items %}{% if (" + "y|title ~ " * 150 + "y) == x %}{% endif %}{% endfor %}",
        "{% for a in items %}" + "{% if y|title|upper|lower == x %}{% endif %}" * 60 + "{% endfor %}",
        "{{ '' if " + " == ".join(["(y" + "~y" * 100 + ")"] * 4) + " }}",
    ],
)
def test_no_template_holds_up_a_worker(source: str) -> None:
    check_source("message", source, KNOWN)
    started = time.monotonic()
    with contextlib.suppress(RenderError):
        render(source, {"items": [1] * 1000, "x": "x", "y": HUGE_TEXT}, 4000)
    assert time.monotonic() - started < MAX_SECONDS * 4  # on a busy machine


@pytest.mark.parametrize(
    "source", ["{{ x }}", "{% if x|upper == '' %}{% endif %}", "{% for one in items %}{% endfor %}"]
)
def test_the_time_is_looked_at_by_every_text_filter_and_step(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.sandbox.MAX_SECONDS", -1)
    with pytest.raises(RenderError, match="it took more than"):
        rendered(source, {"x": "x", "items": [1]})


def test_data_can_not_take_the_budget_away() -> None:
    with pytest.raises(RenderError, match="steps"):
        rendered("{% for one in items %}{% endfor %}", {"items": HUGE_LIST, " budget": None})


def test_in_markup_the_data_are_text() -> None:
    attack = "<script>alert(1)</script>&\"'"
    assert (
        rendered("<b>{{ x }}</b>", {"x": attack}, escapes=True)
        == "<b>&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#34;&#39;</b>"
    )
    assert (
        rendered("<b>{{ x|upper }}{{ x ~ '<' }}{{ items|join }}</b>", {"x": "<i>", "items": ["<p>"]}, escapes=True)
        == "<b>&lt;I&gt;&lt;i&gt;&lt;&lt;p&gt;</b>"
    )
    assert rendered("<b>{{ x }}</b>", {"x": attack}) == f"<b>{attack}</b>"
