"""One conversation with a mail server: opened once, many mails, every wait bounded.

Servers end a session after as many mails as they like: the next mail then begins another.
What the server says about one recipient concerns that mail; a refused connection, certificate, login or
sender, a lost connection and code 421 concern all of them: the channel is down.
"""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
from collections.abc import Sequence
from types import TracebackType
from typing import NoReturn, Self

from shared.addresses import EmailAddress, SmtpAddress
from workers.delivery.channel import REFUSED, ChannelDown, Outcome, failed, retry, sent
from workers.delivery.deadline import Deadline

ANSWER_SECONDS = 10.0  # for the server's next byte
OPEN_SECONDS, MAIL_SECONDS, QUIT_SECONDS = 20.0, 25.0, 2.0  # for the whole of it
UTF8_OPTIONS = ("SMTPUTF8", "BODY=8BITMIME")  # of MAIL; who offers the first takes the second (RFC 6531)
CLOSING = 421  # "service not available, closing": at any point


class SmtpSession:
    """Connected, encrypted and logged in while the block runs. Raises: ChannelDown when that fails."""

    def __init__(self, address: SmtpAddress) -> None:
        self._address = address

    def __enter__(self) -> Self:
        self._open()
        return self

    def _open(self) -> None:
        self._smtp = _client(self._address)
        self._has_sent = False
        try:
            with Deadline(OPEN_SECONDS, self._socket):
                code, reply = self._smtp.connect(self._address.host, self._address.port)
                if code != 220:
                    raise smtplib.SMTPConnectError(code, reply)
                self._smtp.ehlo_or_helo_if_needed()
                if self._address.tls == "starttls":
                    self._smtp.starttls(context=ssl.create_default_context())
                    self._smtp.ehlo_or_helo_if_needed()
                if self._address.user is not None:
                    self._smtp.login(self._address.user, self._address.password or "")
        except (OSError, smtplib.SMTPException) as error:
            self._down(error)

    @property
    def offers_smtputf8(self) -> bool:
        """Whether the server takes addresses that are not ASCII before the @."""
        return self._smtp.has_extn("smtputf8")

    def send(self, sender: str, recipient: EmailAddress, mail: bytes) -> Outcome:
        """Hand over one mail. Raises: ChannelDown; of this mail nobody knows then whether it was taken."""
        try:
            with Deadline(MAIL_SECONDS, self._socket):
                code, reply = self._begin(sender, UTF8_OPTIONS if recipient.needs_smtputf8 else ())
                if code >= 500 and code not in (501, 552, 553, 555):  # those speak of this mail
                    raise smtplib.SMTPSenderRefused(code, reply, sender)
                if code == 250:
                    code, reply = self._smtp.rcpt(str(recipient))
                if code in (250, 251):
                    code, reply = self._hand_over(mail)
                if code == CLOSING:
                    raise smtplib.SMTPResponseException(code, reply)
                if code == 250:
                    self._has_sent = True
                    return sent(_said(reply))
                self._smtp.rset()
        except (OSError, smtplib.SMTPException) as error:
            self._down(error)
        verdict = f"{code} {_said(reply)}"
        return failed(REFUSED, verdict) if code >= 500 else retry(verdict)

    def _begin(self, sender: str, options: Sequence[str]) -> tuple[int, bytes]:
        """MAIL: if the server has ended the session since it took a mail, in a new one."""
        try:
            code, reply = self._smtp.mail(sender, options)
        except smtplib.SMTPServerDisconnected:
            if not self._has_sent:
                raise
            code, reply = CLOSING, b""
        if code == CLOSING and self._has_sent:
            self._smtp.close()
            self._open()
            code, reply = self._smtp.mail(sender, options)
        return code, reply

    def _hand_over(self, mail: bytes) -> tuple[int, bytes]:
        """DATA, whether it is refused before or after the mail itself."""
        try:
            return self._smtp.data(mail)
        except smtplib.SMTPDataError as error:
            return error.smtp_code, _bytes(error.smtp_error)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError, smtplib.SMTPException), Deadline(QUIT_SECONDS, self._socket):
            self._smtp.quit()

    def _socket(self) -> socket.socket | None:
        return self._smtp.sock

    def _down(self, error: Exception) -> NoReturn:
        self._smtp.close()
        if isinstance(error, smtplib.SMTPResponseException):
            raise ChannelDown(f"{error.smtp_code} {_said(_bytes(error.smtp_error))}") from error
        raise ChannelDown(f"{type(error).__name__}: {error}") from error


def _client(address: SmtpAddress) -> smtplib.SMTP:
    """Not yet connected."""
    if address.tls == "implicit":
        client: smtplib.SMTP = smtplib.SMTP_SSL(timeout=ANSWER_SECONDS, context=ssl.create_default_context())
    else:
        client = smtplib.SMTP(timeout=ANSWER_SECONDS)
    # The name that the certificate must carry. smtplib takes it from its constructor only, which would
    # connect at once and leave the deadline nothing to hold.
    client._host = address.host  # type: ignore[attr-defined]
    return client


def _bytes(reply: bytes | str) -> bytes:
    return reply if isinstance(reply, bytes) else reply.encode()


def _said(reply: bytes) -> str:
    return " ".join(reply.decode(errors="replace").split())[:200]
