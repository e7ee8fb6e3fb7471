"""A real mail server on loopback (aiosmtpd), which keeps what it takes and fails as it is told."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable
from email import message_from_string
from email.message import EmailMessage
from email.policy import default
from types import TracebackType
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "stagebloom", "un mot/de passe"


class _Server(SMTP):
    """aiosmtpd's, which would hear the whole mail before its handler can refuse it."""

    async def smtp_DATA(self, arg: str) -> None:
        early = self.event_handler.early_answers
        if early:
            await self.push(early.pop(0))
        else:
            await super().smtp_DATA(arg)


class _Controller(Controller):
    def factory(self) -> SMTP:
        return _Server(self.handler, **self.SMTP_kwargs)


class MailServer:
    """`answers[address]` are given to RCPT one after another, `data_answers` to a mail; then 250. `port` is kept.

    An answer "disconnect" cuts the connection; "lose" takes the mail, then cuts it before saying so; "leave"
    says 250, then hangs up. `early_answers` refuse DATA before the mail comes. After `most_mails` a session hears
    421. `before_answer` is called when a mail has been taken.
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
        self.raw: list[bytes] = []  # each mail as it came
        self.recipients: list[str] = []
        self.in_utf8: list[bool] = []  # of each mail: whether it was announced as such
        self.sessions = 0
        self.answers: dict[str, list[str]] = defaultdict(list)
        self.data_answers: list[str] = []
        self.early_answers: list[str] = []
        self.most_mails: int | None = None
        self.before_answer: Callable[[], object] = int
        self._taken: Counter[Any] = Counter()  # by session
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

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.most_mails is not None and self._taken[session.peer] >= self.most_mails:
            return "421 4.7.0 too many mails in this session"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

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
        if answer.startswith("2") or answer in ("lose", "leave"):
            assert isinstance(envelope.content, bytes)
            mail = message_from_string(
                envelope.content.decode("utf-8" if envelope.smtp_utf8 else "ascii"), policy=default
            )
            assert isinstance(mail, EmailMessage)
            self.mails.append(mail)
            self.raw.append(envelope.content)
            self.recipients.append(envelope.rcpt_tos[0])
            self.in_utf8.append(envelope.smtp_utf8)
            self._taken[session.peer] += 1
            self.before_answer()
        if answer == "leave":
            await server.push("250 OK: queued as 42")
            server.transport.close()
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
            self._controller = _Controller(self, **self._options)
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
