"""Whatever a browser sends: an answer, an `error` frame or a close code, and the gateway goes on."""

from __future__ import annotations

import random
import struct

import httpx
import pytest

from tests.gateway.live.raw_client import BINARY, CONTINUATION, RawClient
from tests.swarm import CLOSE, PING, PONG, TEXT, client_frame

PING_MESSAGE = b'{"type":"ping"}'


@pytest.fixture
def raw(gateway, company):
    company.person("42")
    with RawClient(gateway.port) as client:
        client.upgrade(company.token("42"))
        client.wait_for("connected")
        yield client


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (b"not json", None),
        (b"[]", "message"),
        (b"[" * 16000, None),
        (b'{"type":7}', "type"),
        (b'{"type":"unknown"}', "type"),
        (b"{}", "type"),
        (b'{"type":"read"}', "ids"),
        (b'{"type":"read","ids":["1"]}', "ids"),
        (b'{"type":"read","ids":[true]}', "ids"),
        (b'{"type":"seen","ids":[1.5]}', "ids"),
        (b'{"type":"seen","ids":[-1]}', "ids"),
        (b'{"type":"seen","ids":[9007199254740992]}', "ids"),
        (b'{"type":"seen","ids":[%s]}' % b",".join([b"1"] * 501), "ids"),
        (b'{"type":"seen","ids":[' + b"9" * 5000 + b"]}", None),
        (b'{"type":"resume"}', "cursor"),
        (b'{"type":"resume","cursor":"x","have":{}}', "have"),
        (b'{"type":"authenticate"}', None),
        (b'{"type":"authenticate","token":"a","ticket":"b"}', None),
    ],
)
def test_a_malformed_message_is_answered_with_an_error(raw, message, field):
    raw.send(TEXT, message)
    error = raw.wait_for("error")
    assert error["code"] == "invalid_input"
    assert error["message"]
    assert error["details"].get("field") == field
    raw.send(TEXT, PING_MESSAGE)
    raw.wait_for("pong")


def test_only_authentication_is_taken_before_the_person_is_known(gateway, company):
    with gateway.connect() as client:
        client.send(type="read", ids=[1])
        assert client.wait_for("error")["details"] == {"field": "type"}
        client.send(type="ping")
        assert "cursor" not in client.wait_for("pong")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (client_frame(BINARY, b"\0\1"), 1003),
        (client_frame(TEXT, b"x" * (16 * 1024 + 1)), 1009),
        (client_frame(TEXT, "é".encode() * 8193), 1009),
        (client_frame(TEXT, b"\xff\xfe"), 1007),
        (b"\x81\x02hi", 1002),  # not masked
        (b"\xf1\x80\0\0\0\0", 1002),  # reserved bits
        (b"\x83\x80\0\0\0\0", 1002),  # unknown opcode
        (client_frame(CONTINUATION, b"x"), 1002),
        (client_frame(TEXT, b"x", is_last=False) + client_frame(TEXT, b"y"), 1002),
        (client_frame(PING, b"x" * 126), 1002),
        (client_frame(CLOSE, struct.pack("!H", 1000)), 1000),
        (client_frame(CLOSE), 1005),
        (client_frame(CLOSE, b"\0"), 1002),
        (client_frame(TEXT, b"x" * 9000, is_last=False) + client_frame(CONTINUATION, b"x" * 9000), 1009),
    ],
)
def test_what_breaks_the_protocol_is_closed_with_its_code(raw, data, code):
    raw.sock.sendall(data)
    assert raw.wait_closed() == code


def test_a_message_in_fragments_is_one_message(raw):
    raw.send(TEXT, b'{"type"', is_last=False)
    raw.send(PING, b"in between")
    raw.send(CONTINUATION, b':"pi', is_last=False)
    raw.send(CONTINUATION, b'ng"}')
    assert raw.frame() == (PONG, b"in between")
    raw.wait_for("pong")


def test_a_message_may_come_byte_by_byte(raw):
    for byte in client_frame(TEXT, PING_MESSAGE):
        raw.sock.sendall(bytes([byte]))
    raw.wait_for("pong")


def test_many_in_mid_frame_do_not_mix(gateway, company):
    company.person("42")
    clients = [RawClient(gateway.port) for _ in range(5)]
    data = client_frame(TEXT, PING_MESSAGE)
    for client in clients:
        client.upgrade(company.token("42"))
        client.wait_for("connected")
    for start in range(0, len(data), 4):
        for client in clients:
            client.sock.sendall(data[start : start + 4])
    for client in clients:
        client.wait_for("pong")
        client.sock.close()


def test_a_flood_is_closed_and_nobody_else_waits(raw, gateway, company):
    company.person("7")
    with gateway.connect(company.token("7")) as bystander:
        raw.sock.sendall(client_frame(TEXT, PING_MESSAGE) * 1000)
        assert raw.wait_closed() == 4504
        bystander.settle()


def test_ten_bad_messages_at_once_are_a_flood(raw):
    raw.sock.sendall(client_frame(TEXT, b"rubbish") * 11)
    assert raw.wait_closed() == 4504


def test_rubbish_leaves_the_gateway_answering(gateway, company):
    company.person("42")
    token = company.token("42")
    dice = random.Random(42)
    for round_number in range(150):
        with RawClient(gateway.port) as client:
            client.upgrade(token if round_number % 2 else None)
            data = dice.randbytes(dice.randrange(1, 3000))
            if round_number % 3 == 0:  # a correct head, so that the payload is looked at
                data = client_frame(dice.choice([0, 1, 2, 8, 9, 10]), data[: dice.randrange(0, 125)])
            client.sock.sendall(data)
    with gateway.connect(token) as client:
        client.settle()
    assert httpx.get(f"{gateway.base_url}/healthz").status_code == 200
    assert "Traceback" not in gateway.log()
