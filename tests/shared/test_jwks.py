"""An identity provider's keys: kept, rotated, bounded in time, whatever the provider does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Unavailable
from shared.jwks import KeySet, Rejected, usable_keys
from tests.identity_provider import IdentityProvider, private_key, public_jwk
from tests.system import wait_until

RSA: Any = {"kty": "RSA", "n": "AQAB", "e": "AQAB"}


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    with IdentityProvider("first") as found:
        yield found


def key_set(
    provider: IdentityProvider, refresh_seconds: float = 300, retry_seconds: float = 0.05, fetch_seconds: float = 3
) -> KeySet:
    return KeySet(provider.url, refresh_seconds, retry_seconds, fetch_seconds)


def numbers(name: str) -> Any:
    return private_key(name).public_key().public_numbers()


def find(keys: KeySet, key_id: str | None) -> Any:
    found = keys.find(key_id)
    return None if found is None else found.public_numbers()


def test_keys_are_asked_for_once(provider: IdentityProvider) -> None:
    keys = key_set(provider)
    assert not keys.holds("first")
    assert [find(keys, "first") for _ in range(20)] == [numbers("first")] * 20
    assert keys.holds("first")
    assert provider.asked == 1


def test_many_that_come_at_once_ask_once(provider: IdentityProvider) -> None:
    keys = key_set(provider)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(find(keys, "first"))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [numbers("first")] * 20
    assert provider.asked == 1


def test_a_new_key_is_found_at_once_and_a_withdrawn_one_is_gone(provider: IdentityProvider) -> None:
    keys = key_set(provider)
    assert find(keys, "first") is not None
    provider.publish("second")
    time.sleep(0.06)  # retry_seconds
    assert find(keys, "second") == numbers("second")
    assert find(keys, "first") is None


def test_keys_are_read_again_when_they_are_old_and_nobody_waits(provider: IdentityProvider) -> None:
    keys = key_set(provider, refresh_seconds=0.1)
    assert find(keys, "first") is not None
    provider.publish("second")
    provider.mood = "silent"
    time.sleep(0.11)
    begun = time.monotonic()
    assert find(keys, "first") is not None, "the kept one meanwhile"
    assert time.monotonic() - begun < 0.5
    provider.mood = "ok"
    provider._calm.set()
    wait_until(lambda: keys.holds("second"), "the new key is read")


def test_made_up_key_ids_ask_at_most_every_so_often(provider: IdentityProvider) -> None:
    keys = key_set(provider, retry_seconds=30)
    assert find(keys, "first") is not None
    assert [find(keys, f"made up {n}") for n in range(50)] == [None] * 50
    assert provider.asked == 1


@pytest.mark.parametrize("mood", ["error", "rubbish", "empty", "huge", "redirect", "silent", "drip"])
def test_a_provider_that_fails_keeps_the_keys_and_holds_nobody_up(provider: IdentityProvider, mood: str) -> None:
    keys = key_set(provider, refresh_seconds=0.01, fetch_seconds=0.4)
    assert find(keys, "first") is not None
    provider.mood = mood
    for _ in range(5):
        time.sleep(0.06)
        begun = time.monotonic()
        assert find(keys, "first") is not None
        assert time.monotonic() - begun < 0.3
    begun = time.monotonic()
    with pytest.raises(Unavailable) as refused:
        wait_until(lambda: find(keys, "other") is not None, "it is refused")
    assert refused.value.details == {"reason": "jwks"}
    assert time.monotonic() - begun < 2
    provider.mood = "ok"
    wait_until(lambda: find_or_none(keys, "first") and not keys._has_failed, "it has recovered")
    assert provider.asked > 1


def find_or_none(keys: KeySet, key_id: str) -> Any:
    try:
        return find(keys, key_id)
    except Unavailable:
        return None


@pytest.mark.parametrize("mood", ["error", "rubbish", "silent", "drip"])
def test_without_any_key_it_is_the_provider_that_is_unavailable_and_later_not(
    provider: IdentityProvider, mood: str
) -> None:
    provider.mood = mood
    keys = key_set(provider, fetch_seconds=0.4)
    begun = time.monotonic()
    for _ in range(3):
        with pytest.raises(Unavailable, match="identity provider's keys"):
            keys.find("first")
    assert time.monotonic() - begun < 2
    provider.mood = "ok"
    wait_until(lambda: find_or_none(keys, "first"), "keys are read as soon as there are any")


def test_a_provider_that_refuses_connections_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        KeySet("http://127.0.0.1:1/keys", 300).find("first")


def test_an_https_address_needs_a_certificate_that_holds(provider: IdentityProvider) -> None:
    with pytest.raises(Unavailable):
        KeySet(provider.url.replace("http:", "https:"), 300, fetch_seconds=1).find("first")
    assert provider.asked == 0


def test_a_file_is_read_again_when_it_rotates(tmp_path: Path) -> None:
    path = tmp_path / "clés 1.json"
    path.write_text(json.dumps({"keys": [public_jwk("first")]}))
    keys = KeySet(path.as_uri(), 300, 0.05)
    assert find(keys, "first") == numbers("first")
    path.write_text(json.dumps({"keys": [public_jwk("first"), public_jwk("second")]}))
    time.sleep(0.06)
    assert find(keys, "second") == numbers("second")
    path.unlink()
    time.sleep(0.06)
    assert find(keys, "first") is not None


def test_a_token_without_key_id_gets_the_only_key(provider: IdentityProvider) -> None:
    keys = key_set(provider)
    assert find(keys, None) == numbers("first")
    provider.publish("first", "second")
    time.sleep(0.06)
    assert find(keys, "second") is not None
    assert find(keys, None) is None


UNUSABLE: dict[str, Any] = {
    "a secret": {"kty": "oct", "k": "c2VjcmV0", "kid": "x"},
    "for encryption": public_jwk("first", use="enc"),
    "of another algorithm": public_jwk("first", alg="RS512"),
    "for signing only": public_jwk("first", key_ops=["sign"]),
    "too short": public_jwk("short"),
    "without a modulus": public_jwk("first", n=None),
    "with a modulus that is none": public_jwk("first", n="!!"),
    "with a number as modulus": public_jwk("first", n=7),
    "of an elliptic curve": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "x"},
    "a text": "first",
    "nothing": None,
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_key_that_is_not_for_this_is_left_out(case: str) -> None:
    listed = [UNUSABLE[case], public_jwk("second")]
    assert list(usable_keys(json.dumps({"keys": listed}).encode())) == ["second"]
    with pytest.raises(Rejected):
        usable_keys(json.dumps({"keys": listed[:1]}).encode())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b'{"keys": 1}',
        b'{"keys": {}}',
        b"\xff",
        b"[" * 100_000,
        json.dumps({"keys": [RSA] * 101}).encode(),
    ],
    ids=range(8),
)
def test_what_is_no_set_of_keys_is_rejected(content: bytes) -> None:
    with pytest.raises(Rejected):
        usable_keys(content)


def test_of_a_private_key_only_the_public_half_is_taken() -> None:
    from jwt.algorithms import RSAAlgorithm

    private = {**RSAAlgorithm.to_jwk(private_key("first"), as_dict=True), "kid": "first"}
    private.pop("key_ops")
    assert "d" in private
    key = usable_keys(json.dumps({"keys": [private]}).encode())["first"]
    assert key.public_numbers() == numbers("first")
    assert not hasattr(key, "sign")
