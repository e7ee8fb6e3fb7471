"""What a mail says: in the person's language, with accents, and nothing that anyone can smuggle into it."""

from __future__ import annotations

from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from types import SimpleNamespace
from typing import Any

import pytest

from shared.addresses import EmailAddress, parse_email_address
from shared.settings import Settings, load_settings
from workers.delivery.mail import LANGUAGES, TEMPLATES, compose

NASTY = "Zoé\r\nBcc: all@example.org\n\n<script>alert(1)</script>\x00\u2028\u202e{{ 7 * 7 }}"

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
    assert set(mail.keys()) == {
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "Auto-Submitted",
        "Content-Language",
        "MIME-Version",
        "Content-Type",
    }
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
