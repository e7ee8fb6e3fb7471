"""Tokens of an identity provider (RS256): who gets in, who does not, and that the setting decides, not the token."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.app import create_app
from shared.errors import SettingsError
from shared.tokens import encode, issue_token
from tests.gateway.live.gateway_process import GatewayProcess
from tests.identity_provider import IdentityProvider, claims_of, private_key, token
from tests.live_client import connect
from tests.system import wait_until

UNREAD = "/api/notifications/notifications/unread-count/"


@pytest.fixture
def provider():
    with IdentityProvider("first") as found:
        yield found


@pytest.fixture
def rs256(settings, provider):
    return settings.model_copy(update={"jwt_algorithm": "RS256", "jwt_jwks_url": provider.url})


@pytest.fixture
def browser(rs256, clean):
    return create_app(rs256).test_client()


def bearer(value):
    return {"Authorization": f"Bearer {value}"}


def by_hand(header, key):
    """A token that no library would make."""
    words = [header, {**claims_of(), "exp": 9_999_999_999}]
    head, body = (base64.urlsafe_b64encode(json.dumps(word).encode()).decode().rstrip("=") for word in words)
    signature = hmac.new(key, f"{head}.{body}".encode(), hashlib.sha256).digest() if key else b""
    return f"{head}.{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def test_a_token_of_the_provider_lets_in(browser, company, provider):
    company.person("42")
    for value in (token(), token(aud=["notifications", "else"]), token(kid=None)):
        assert browser.get(UNREAD, headers=bearer(value)).status_code == 200
    assert provider.asked == 1


def public_pem(format_):
    return private_key("first").public_key().public_bytes(Encoding.PEM, format_)


REFUSED = {
    "HS256 with the public key as secret": (
        lambda s: by_hand({"alg": "HS256", "kid": "first"}, public_pem(PublicFormat.SubjectPublicKeyInfo)),
        "algorithm",
    ),
    "the same in the older format": (
        lambda s: by_hand({"alg": "HS256", "kid": "first"}, public_pem(PublicFormat.PKCS1)),
        "algorithm",
    ),
    "RS256 in name, HMAC in truth": (
        lambda s: by_hand({"alg": "RS256", "kid": "first"}, public_pem(PublicFormat.SubjectPublicKeyInfo)),
        "signature",
    ),
    "HS256 with our own key": (
        lambda s: encode(s, s.jwt_audience, "42", datetime.now(UTC) + timedelta(hours=1)),
        "algorithm",
    ),
    "unsigned": (lambda s: by_hand({"alg": "none", "kid": "first"}, b""), "algorithm"),
    "unsigned, RS256 in name": (lambda s: by_hand({"alg": "RS256", "kid": "first"}, b""), "signature"),
    "without an algorithm": (lambda s: by_hand({"kid": "first"}, b""), "algorithm"),
    "with another RSA algorithm": (
        lambda s: jwt.encode(claims_of(), private_key("first"), algorithm="RS512", headers={"kid": "first"}),
        "algorithm",
    ),
    "with PSS": (
        lambda s: jwt.encode(claims_of(), private_key("first"), algorithm="PS256", headers={"kid": "first"}),
        "algorithm",
    ),
    "of a key nobody published": (lambda s: token("other"), "key"),
    "of a key nobody published under a known name": (lambda s: token("other", kid="first"), "signature"),
    "with a key of its own in the header": (
        lambda s: jwt.encode(
            claims_of(),
            private_key("other"),
            algorithm="RS256",
            headers={"kid": "first", "jku": "http://127.0.0.1:1/", "jwk": {"kty": "RSA"}},
        ),
        "signature",
    ),
    "with a number as key id": (lambda s: by_hand({"alg": "RS256", "kid": 7}, b"x"), "malformed"),
    "expired": (lambda s: token(exp=datetime.now(UTC) - timedelta(seconds=1)), "expired"),
    "of another audience": (lambda s: token(aud="elsewhere"), "audience"),
    "of another issuer": (lambda s: token(iss="someone"), "issuer"),
    "without person": (lambda s: token(sub=None), "claim"),
    "no token": (lambda s: "abc", "malformed"),
    "far too long": (lambda s: "a" * 5000, "malformed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_token_is_refused_when_it_is(case, browser, company, rs256):
    company.person("42")
    forge, reason = REFUSED[case]
    answer = browser.get(UNREAD, headers=bearer(forge(rs256)))
    assert (answer.status_code, answer.json["error"]["details"]["reason"]) == (401, reason)


def test_with_hs256_a_token_of_the_provider_is_refused(client, company):
    company.person("42")
    answer = client.get(UNREAD, headers=bearer(token()))
    assert (answer.status_code, answer.json["error"]["details"]["reason"]) == (401, "algorithm")


def test_a_session_and_a_ticket_are_ours_as_ever(browser, company):
    company.person("42")
    answer = browser.post("/api/session/", headers=bearer(token()))
    assert answer.status_code == 201
    assert browser.get(UNREAD).status_code == 200
    cookie = browser.get_cookie("stagebloom_session").value
    assert jwt.get_unverified_header(cookie)["alg"] == "HS256"
    assert browser.get(UNREAD, headers=bearer(cookie)).status_code == 401
    headers = {"X-CSRF-Token": answer.json["csrf_token"]}
    assert browser.post("/api/notifications/ticket/", headers=headers).status_code == 201


def test_a_provider_that_is_away_is_said_to_be_and_may_be_tried_again(browser, company, provider):
    company.person("42")
    provider.mood = "error"
    answer = browser.get(UNREAD, headers=bearer(token()))
    assert (answer.status_code, answer.json["error"]["details"]["reason"]) == (503, "jwks")
    assert answer.headers["Retry-After"]


def test_nobody_but_the_provider_issues_tokens(rs256, provider, company):
    company.person("42")
    with pytest.raises(SettingsError, match="identity provider"):
        issue_token(rs256, "42")
    command = [sys.executable, "-c", "from shared.cli import main; main()", "token", "42"]
    environment = {"DATA_DIR": str(rs256.data_dir), "JWT_ALGORITHM": "RS256", "JWT_JWKS_URL": provider.url}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr
        == "stagebloom: JWT_ALGORITHM=RS256: tokens come from the identity provider; this installation only reads them\n"
    )


def test_the_demonstration_says_that_it_has_no_tokens(browser, company):
    for person, role in zip("1234", ("stagiaire", "tuteur", "rh", "admin"), strict=True):
        company.person(person, f"role_{role}")
    answer = browser.get("/api/demo/")
    assert (answer.status_code, answer.json["error"]["details"]["reason"]) == (
        404,
        "tokens come from the identity provider",
    )


def test_under_gevent_a_silent_provider_holds_up_nobody_who_does_not_need_it(settings, provider, company):
    """Real gateway, real sockets: one waits for a key, the others are served; then the key rotates."""
    company.person("42")
    with GatewayProcess(
        settings, JWT_ALGORITHM="RS256", JWT_JWKS_URL=provider.url, JWT_JWKS_RETRY_SECONDS="1"
    ) as gateway:
        with gateway.connect(token()) as client:
            assert client.received[0]["user"]["id"] == "42"
        provider.publish("first", "second")
        provider.mood = "silent"
        time.sleep(1.1)  # JWT_JWKS_RETRY_SECONDS
        with connect(gateway.base_url) as waiting:
            waiting.send(type="authenticate", token=token("second"))
            begun = time.monotonic()
            for _ in range(5):
                assert httpx.get(gateway.base_url + UNREAD, headers=bearer(token())).status_code == 200
                with gateway.connect(token()):
                    pass
            assert time.monotonic() - begun < 2.5
            assert waiting.wait_closed() == 4010
        provider.mood = "ok"
        address, headers = gateway.base_url + UNREAD, bearer(token("second"))
        wait_until(lambda: httpx.get(address, headers=headers).status_code == 200, "the new key is read")
        with connect(gateway.base_url) as client:
            client.send(type="authenticate", token=token("second"))
            assert client.wait_for("connected")["user"]["id"] == "42"
        with connect(gateway.base_url) as client:
            client.send(type="authenticate", token=token("third"))
            assert client.wait_closed() == 4501


def test_a_token_of_another_algorithm_makes_nobody_ask_the_provider(browser, company, provider):
    company.person("42")
    for forge, reason in REFUSED.values():
        if reason == "algorithm":
            browser.get(UNREAD, headers=bearer(forge(company.settings)))
    assert provider.asked == 0
