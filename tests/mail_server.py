"""A real mail server on loopback (aiosmtpd), which keeps what it takes and fails as it is told."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import warnings
from collections import defaultdict
from email import message_from_string
from email.message import EmailMessage
from email.policy import default
from types import TracebackType
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "stagebloom", "un mot/de passe"


class MailServer:
    """`answers[address]` are given to RCPT one after another, `data_answers` to DATA; then 250. `port` is kept.

    An answer "disconnect" cuts the connection; "lose" takes the mail, then cuts it before saying so.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        implicit_tls: ssl.SSLContext | None = None,
        needs_auth: bool = False,
        smtputf8: bool = False,
    ) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.in_utf8: list[bool] = []  # of each mail: whether it was announced as such
        self.sessions = 0
        self.answers: dict[str, list[str]] = defaultdict(list)
        self.data_answers: list[str] = []
        self.pause_seconds = 0.0
        self.port = free_port()
        self._options: dict[str, Any] = {
            "hostname": "127.0.0.1", "port": self.port, "ssl_context": implicit_tls, "tls_context": tls, "require_starttls": tls is not None,
            "auth_required": needs_auth, "authenticator": self._authenticate, "auth_require_tls": False, "enable_SMTPUTF8": smtputf8,
        }  # fmt: skip
        self._controller: Controller | None = None

    @property
    def mails_by_recipient(self) -> dict[str, list[EmailMessage]]:
        found: dict[str, list[EmailMessage]] = defaultdict(list)
        for recipient, mail in zip(self.recipients, self.mails, strict=True):
            found[recipient].append(mail)
        return found

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self.sessions += 1
        return responses

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.answers[address].pop(0) if self.answers[address] else "250 OK"
        if answer.startswith("2"):
            envelope.rcpt_tos.append(address)
        return self._cut(server) if answer == "disconnect" else answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        await asyncio.sleep(self.pause_seconds)
        answer = self.data_answers.pop(0) if self.data_answers else "250 OK: queued as 42"
        if answer.startswith("2") or answer == "lose":
            assert isinstance(envelope.content, bytes)
            mail = message_from_string(
                envelope.content.decode("utf-8" if envelope.smtp_utf8 else "ascii"), policy=default
            )
            assert isinstance(mail, EmailMessage)
            self.mails.append(mail)
            self.recipients.append(envelope.rcpt_tos[0])
            self.in_utf8.append(envelope.smtp_utf8)
        return self._cut(server) if answer in ("disconnect", "lose") else answer

    def _cut(self, server: SMTP) -> str:
        transport: Any = server.transport
        transport.abort()
        return "451 gone"

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=good, handled=good)

    def start(self) -> None:
        logging.getLogger("mail.log").setLevel("ERROR")
        with warnings.catch_warnings(
            action="ignore"
        ):  # of passwords without encryption: here they never leave the machine
            self._controller = Controller(self, **self._options)
            self._controller.start()

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
