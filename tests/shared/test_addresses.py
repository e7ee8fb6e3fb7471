"""Which addresses mail can go to, and in which form."""

from __future__ import annotations

import pytest

from shared.addresses import is_email_address, looks_like_email, parse_email_address


@pytest.mark.parametrize(
    ("written", "read", "needs_smtputf8"),
    [
        ("elise@example.org", "elise@example.org", False),
        ("o'neil+a.b_c@sub.example.org", "o'neil+a.b_c@sub.example.org", False),
        ("x" * 64 + "@example.org", "x" * 64 + "@example.org", False),
        ("élise@example.org", "élise@example.org", True),
        ("山田@example.org", "山田@example.org", True),
        ("سلام@example.org", "سلام@example.org", True),
        ("info@MÜNCHEN.example", "info@xn--mnchen-3ya.example", False),
        ("élise@bücher.example", "élise@xn--bcher-kva.example", True),
        ("e\u0301lise@mu\u0308nchen.example", "e\u0301lise@xn--mnchen-3ya.example", True),
        ("a@xn--mnchen-3ya.example", "a@xn--mnchen-3ya.example", False),
    ],
)
def test_an_address_is_read_with_its_domain_as_dns_has_it(written: str, read: str, needs_smtputf8: bool) -> None:
    found = parse_email_address(written)
    assert found is not None
    assert (str(found), found.needs_smtputf8) == (read, needs_smtputf8)
    assert is_email_address(written) is written.isascii()


@pytest.mark.parametrize(
    "written",
    [
        "", "@", "a", "a@", "@b.example", "a@b@c.example", "a b@c.example", "a..b@c.example", "a@b..example", "a@.example", '"a"@b.example',
        "a@b.example\nBcc: c@d.example", "a\r\nBcc:c@b.example", "é\n@b.example", "é\u0085@b.example", "é\u00a0@b.example", "é\u2028x@b.example",
        "é\u202e@b.example", "é\u200d@b.example", "é\ud800@b.example", "é>@b.example", "é<a@b.example", "a@b.example>", "a,é@b.example",
        "a@[127.0.0.1]", "a@b_c.example", "x" * 65 + "@example.org", "é" * 33 + "@example.org", "a@" + "b" * 64 + ".example",
        "a@" + ".".join(["b" * 60] * 5), "a@é" + "b" * 63 + ".example",
        "a@straße.example", "a@b。example", "a@ｂ.example", "a@b\u200d.example",
        "=?utf-8?q?x?=@b.example", "a=?b@c.example", "é=?@b.example",
    ],
)  # fmt: skip
def test_what_can_be_no_address_or_somebody_else_s_is_none(written: str) -> None:
    assert parse_email_address(written) is None
    assert not is_email_address(written)


@pytest.mark.parametrize(
    "address",
    [
        "ann@localhost",
        "élise@bücher.example",
        "山田@例え.テスト",
        "x" * 65 + "@b.test",
        "a..b@docomo.example",
        "straße@straße.example",
    ],
)
def test_an_address_that_may_exist_is_kept_even_if_we_can_not_mail_it(address: str) -> None:
    assert looks_like_email(address)
