"""What a mail says: in the person's language, with accents, and nothing that anyone can smuggle into it."""

from __future__ import annotations

from collections.abc import Callable
from email import message_from_bytes, message_from_string
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import compat32, default
from email.utils import parseaddr
from types import SimpleNamespace
from typing import Any

import pytest

from shared.addresses import EmailAddress, parse_email_address
from shared.settings import Settings, load_settings
from workers.delivery.mail import LANGUAGES, TEMPLATES, compose

NASTY = "Zoé\r\nBcc: all@example.org\n\n<script>alert(1)</script>\x00\u2028\u202e{{ 7 * 7 }}"

HEADERS = {
    "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type", "Content-Language",
}  # fmt: skip

Write = Callable[..., EmailMessage]


@pytest.fixture
def settings() -> Settings:
    return load_settings(
        {"SMTP_URL": "smtp://mail.example", "EMAIL_FROM": '"StageBloom à l\'heure, Paris" <avis@stagebloom.example>'}
    )


@pytest.fixture
def write(settings: Settings) -> Write:
    """The mail of a delivery as it is read at the other end."""

    def compose_one(changes: dict[str, Any] | None = None, **row: Any) -> EmailMessage:
        values = {
            "delivery_id": 7, "event_id": 42, "name": "Élise Noël", "email": "elise@example.org", "locale": "fr", "format": "plain", "link": None,
            "texts": {"fr": {"title": "Évacuation immédiate", "message": "Sortez par l'escalier B.\nCalmement."}}, **row,
        }  # fmt: skip
        address = parse_email_address(values["email"])
        assert isinstance(address, EmailAddress)
        sent = compose(SimpleNamespace(**values), address, settings.model_copy(update=changes or {})).as_bytes()
        received = message_from_bytes(sent, policy=default)
        assert isinstance(received, EmailMessage)
        return received

    return compose_one


def part(mail: EmailMessage, kind: str) -> str:
    found = mail.get_body((kind,))
    assert found is not None
    return str(found.get_content()).replace("\r\n", "\n")


def test_accents_survive_in_subject_names_and_both_texts(write: Write) -> None:
    mail = write()
    assert mail["Subject"] == "Évacuation immédiate"
    assert [(address.display_name, address.addr_spec) for address in mail["To"].addresses] == [
        ("Élise Noël", "elise@example.org")
    ]
    assert [(address.display_name, address.addr_spec) for address in mail["From"].addresses] == [
        ("StageBloom à l'heure, Paris", "avis@stagebloom.example")
    ]
    for kind in ("plain", "html"):
        assert "Bonjour Élise Noël," in part(mail, kind)
        assert "Évacuation immédiate" in part(mail, kind)
    assert "Sortez par l'escalier B.\nCalmement." in part(mail, "plain")
    assert mail.get_content_type() == "multipart/alternative"


@pytest.mark.parametrize(
    ("locale", "texts", "language", "greeting"),
    [("fr", ("fr", "en"), "fr", "Bonjour"), ("en", ("fr", "en"), "en", "Hello"), ("en-GB", ("fr", "en"), "en", "Hello"), (None, ("fr", "en"), "fr", "Bonjour"),
     ("de", ("en",), "en", "Hello"), ("de", ("de",), "en", "Hello"), ("en", ("fr",), "en", "Hello")],
)  # fmt: skip
def test_it_is_in_the_persons_language(
    write: Write, locale: str | None, texts: tuple[str, ...], language: str, greeting: str
) -> None:
    mail = write(locale=locale, texts={text: {"title": f"T {text}", "message": "M"} for text in texts})
    assert mail["Content-Language"] == language
    assert part(mail, "plain").startswith(greeting)
    assert f'<html lang="{language}">' in part(mail, "html")
    assert greeting in part(mail, "html")


def test_nothing_can_become_a_header_or_markup(write: Write) -> None:
    mail = write(name=NASTY, texts={"fr": {"title": NASTY, "message": NASTY}})
    assert set(mail.keys()) == HEADERS
    assert mail["Subject"] == "Zoé Bcc: all@example.org <script>alert(1)</script> {{ 7 * 7 }}"
    assert [address.addr_spec for address in mail["To"].addresses] == ["elise@example.org"]
    shown = part(mail, "html")
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "{{ 7 * 7 }}" in shown


@pytest.mark.parametrize(
    "name",
    ["", 'a"b\\c', "x" * 500, "é" * 300, "Doe, Jane <jane@evil.example>", "=?utf-8?q?x?=", "(comment)", "山田 太郎"],
)
def test_any_name_leaves_the_address_alone(write: Write, name: str) -> None:
    mail = write(name=name)
    assert [address.addr_spec for address in mail["To"].addresses] == ["elise@example.org"]
    assert max(map(len, mail.as_bytes().splitlines())) <= 998  # RFC 5322


HIDDEN = "=?utf-8?q?Urgent=0d=0aReply-To:_attacker=40evil.example=0d=0a=0d=0aAnother_body?="


@pytest.mark.parametrize("email", ["elise@example.org", "élise@example.org"])
@pytest.mark.parametrize(
    "words",
    [
        HIDDEN,
        f"Alerte {HIDDEN} {HIDDEN}",
        "=?utf-8?b?VXJnZW50DQpCY2M6IGFsbEBleGFtcGxlLm9yZw==?=",
        "=?utf-8?q?=3D=3Futf-8=3Fq=3FTwice=3D0d=3D0aBcc=3A_x=3F=3D?=",
        "=?utf-8*fr?q?x=0ay?=",
        "=?utf-8?q?half",
        "é" * 200 + HIDDEN,
        "many words of ASCII " * 20,
        "x" * 400,
        'a"b\\c <x@evil.example>, (d)',
    ],
)
def test_words_that_hide_others_are_read_as_they_stand(settings: Settings, words: str, email: str) -> None:
    """What stands in the bytes that leave, seen without any reading, then read once as a reader does."""
    row = SimpleNamespace(
        delivery_id=7, event_id=42, name=words, email=email, locale="fr", format="plain", link=None,
        texts={"fr": {"title": words, "message": words}},
    )  # fmt: skip
    address = parse_email_address(email)
    assert address is not None
    changed = settings.model_copy(update={"email_from": f'"{HIDDEN}" <avis@stagebloom.example>'})
    sent = compose(row, address, changed).as_bytes()
    raw = message_from_string(sent.decode(), policy=compat32)
    assert set(raw.keys()) == HEADERS
    assert len(raw.keys()) == len(HEADERS)
    assert max(map(len, sent.splitlines())) <= 998  # RFC 5322
    assert read(raw["Subject"]) == words.strip()
    for header, name, addr in (("To", words.strip(), email), ("From", HIDDEN, "avis@stagebloom.example")):
        shown, found = parseaddr(raw[header])
        assert (read(shown), found) == (name, addr)
        assert [one.addr_spec for one in message_from_string(sent.decode(), policy=default)[header].addresses] == [addr]


def read(value: str) -> str:
    """A header's text as it is shown: its encoded words decoded, once."""
    return str(make_header(decode_header(value)))


def test_the_message_id_is_the_deliverys_and_the_senders_domain(write: Write) -> None:
    assert write()["Message-ID"] == write()["Message-ID"] == "<42.7@stagebloom.example>"
    assert write(delivery_id=8)["Message-ID"] != write()["Message-ID"]


def test_a_rich_message_keeps_its_safe_elements_and_reads_as_text_too(write: Write) -> None:
    message = (
        '<p>Sortez <b>vite</b></p><ul><li>A</li></ul><img src=x onerror=alert(1)><a href="javascript:alert(1)">x</a>'
    )
    mail = write(format="rich", texts={"fr": {"title": "T", "message": message}})
    assert "<b>vite</b>" in part(mail, "html")
    assert "onerror" not in part(mail, "html")
    assert "javascript" not in part(mail, "html")
    assert "Sortez vite\nA" in part(mail, "plain")
    assert "<b>" not in part(mail, "plain")


@pytest.mark.parametrize(
    ("link", "base", "shown"),
    [
        ("https://a.example/x?a=1&b=2", None, "https://a.example/x?a=1&b=2"),
        ("/stages/3", "https://app.example/", "https://app.example/stages/3"),
        ("/stages/3", None, None),
        (None, "https://app.example", None),
    ],
)
def test_a_link_leads_somewhere_or_is_left_out(
    write: Write, link: str | None, base: str | None, shown: str | None
) -> None:
    mail = write({"email_link_base": base}, link=link)
    assert (shown in part(mail, "plain")) if shown else ("http" not in part(mail, "plain"))
    assert ("Ouvrir" in part(mail, "html")) is (shown is not None)


def test_every_language_has_both_templates() -> None:
    assert {path.name for path in TEMPLATES.iterdir()} == {
        "layout.html",
        *(f"{language}.{kind}" for language in LANGUAGES for kind in ("txt", "html")),
    }
