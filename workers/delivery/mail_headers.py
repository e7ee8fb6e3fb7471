"""Headers of a mail that hold words of others: written as they are to be read, and decoded by nobody on the way.

`email` reads what it is given as a header, so a title `=?utf-8?q?=0d=0aBcc:…?=` would become the lines
that it hides. Here every such word is encoded once more, by us, and never read again.
"""

from __future__ import annotations

from email.header import Header
from email.message import EmailMessage
from email.policy import Policy

from shared.addresses import EmailAddress
from shared.texts import one_line

LINE = 76  # characters that a line with encoded words may have (RFC 2047)


class Written(str):
    """The value of header `name` as it goes out. `email` keeps a value that has a name, and asks it for its lines."""

    name: str

    def fold(self, *, policy: Policy) -> str:
        """The whole header, as bytes go out."""
        return f"{self.name}: {self}{policy.linesep}"


def set_text(mail: EmailMessage, name: str, value: str) -> None:
    """Set a header that is read as this text, literally."""
    line = one_line(value)
    _set(mail, name, line if _is_plain(line) else _encoded(name, line))


def set_address(mail: EmailMessage, name: str, shown: str, address: EmailAddress) -> None:
    """Set a header that is one address, shown under this name."""
    line = one_line(shown)
    if not line:
        _set(mail, name, _addr_spec(address))
    elif _is_plain(line):
        quoted = line.replace("\\", "\\\\").replace('"', '\\"')
        _set(mail, name, f'"{quoted}" <{_addr_spec(address)}>')
    else:
        _set(mail, name, f"{_encoded(name, line)}\r\n <{_addr_spec(address)}>")


def _set(mail: EmailMessage, name: str, value: str) -> None:
    written = Written(value)
    written.name = name
    mail[name] = written


def _is_plain(line: str) -> bool:
    """Whether every reader sees just this in it, and it fits in a line."""
    return line.isascii() and line.isprintable() and "=?" not in line and len(line) < LINE - len("Subject: ")


def _encoded(name: str, line: str) -> str:
    return Header(line, "utf-8", maxlinelen=LINE, header_name=name).encode(linesep="\r\n")


def _addr_spec(address: EmailAddress) -> str:
    local_part = address.local_part
    is_atom = not (local_part.startswith(".") or local_part.endswith("."))
    return f"{local_part}@{address.domain}" if is_atom else f'"{local_part}"@{address.domain}'
