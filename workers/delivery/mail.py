"""What a mail says: text and HTML in the person's language, from the templates beside this file.

Nothing that a producer or a person's name holds can become a header, an address or markup: headers are
written by `mail_headers`, addresses are checked before, and the HTML is escaped (a rich message was
cleaned when it was written, and is cleaned again).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import parseaddr
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined, select_autoescape
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from shared.addresses import EmailAddress
from shared.frames import choose_locale
from shared.rich import CLEANER, RICH, plain_text
from shared.settings import Settings
from shared.texts import one_line
from workers.delivery.mail_headers import set_address, set_text

TEMPLATES = Path(__file__).parent / "templates"
LANGUAGES = ("en", "fr")


def compose(row: Any, address: EmailAddress, settings: Settings) -> EmailMessage:
    """The mail of a delivery to `address`: the same Message-ID however often it is made."""
    locale = choose_locale(row.texts, row.locale, settings.default_locale)
    language = _language(row.locale, locale)
    words = _words(row, locale, settings)
    sender_name, sender = parseaddr(settings.email_from or "")
    mail = EmailMessage(policy=SMTPUTF8 if address.needs_smtputf8 else SMTP)
    local_part, _, domain = sender.rpartition("@")
    set_address(mail, "From", sender_name, EmailAddress(local_part, domain))
    set_address(mail, "To", row.name, address)
    set_text(mail, "Subject", words["title"])
    mail["Date"] = datetime.now(UTC)
    mail["Message-ID"] = f"<{row.event_id}.{row.delivery_id}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"  # no out-of-office replies, please (RFC 3834)
    mail.set_content(_render(f"{language}.txt", words), cte="quoted-printable")
    mail.add_alternative(_render(f"{language}.html", words), subtype="html", cte="quoted-printable")
    mail["Content-Language"] = language  # last: what is set before moves into the first part
    return mail


def _language(wanted: str | None, texts: str) -> str:
    """The template's language: the person's, else that of the texts they get."""
    return next(
        (language for language in ((wanted or "").split("-")[0], texts.split("-")[0]) if language in LANGUAGES), "en"
    )


def _words(row: Any, locale: str, settings: Settings) -> Mapping[str, Any]:
    title, message = row.texts[locale]["title"], row.texts[locale]["message"]
    is_rich = row.format == RICH
    return {
        "name": one_line(row.name),
        "title": one_line(title),
        "text": plain_text(message) if is_rich else message,
        "html": Markup(CLEANER.clean(message)) if is_rich else None,
        "link": _absolute(row.link, settings.email_link_base),
    }


def _absolute(link: str | None, base: str | None) -> str | None:
    """A path leads nowhere in a mail unless EMAIL_LINK_BASE says where it belongs."""
    if link is None or not link.startswith("/"):
        return link
    return None if base is None else base.rstrip("/") + link


def _render(name: str, words: Mapping[str, Any]) -> str:
    return _environment().get_template(name).render(words)


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
