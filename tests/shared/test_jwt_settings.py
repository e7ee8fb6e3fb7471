"""How tokens are signed is said once and together; the key's file is read when it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import SettingsError
from shared.secret_key import SECRET_FILE
from shared.settings import load_settings


def test_tokens_are_ours_unless_said_otherwise(tmp_path: Path) -> None:
    found = load_settings({"DATA_DIR": str(tmp_path)})
    assert (found.jwt_algorithm, found.jwt_jwks_url) == ("HS256", None)


@pytest.mark.parametrize(
    "address",
    [
        "https://id.example.com/certs",
        "http://127.0.0.1:8080/keys?tenant=1",
        "https://id.example.com",
        "file:///etc/keys.json",
    ],
)
def test_an_identity_provider_is_named_by_its_address(address: str) -> None:
    found = load_settings({"JWT_ALGORITHM": "RS256", "JWT_JWKS_URL": address})
    assert found.jwt_jwks_url == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "id.example.com",
        "ftp://id.example.com/keys",
        "/etc/keys.json",
        "https://user:secret@id.example.com/",
        "file://etc",
        "data:,{}",
        "https://",
    ],
)
def test_rs256_needs_an_address_that_can_be_one(address: str) -> None:
    with pytest.raises(SettingsError, match="JWT_JWKS_URL=<hidden>: an address such as") as refused:
        load_settings({"JWT_ALGORITHM": "RS256", "JWT_JWKS_URL": address})
    assert "secret" not in str(refused.value)


def test_keys_that_nothing_would_read_are_a_fault() -> None:
    with pytest.raises(SettingsError, match="unless JWT_ALGORITHM is RS256"):
        load_settings({"JWT_JWKS_URL": "https://id.example.com/certs"})


@pytest.mark.parametrize("algorithm", ["none", "HS512", "rs256", "ES256"])
def test_no_other_algorithm_is_known(algorithm: str) -> None:
    with pytest.raises(SettingsError, match="JWT_ALGORITHM"):
        load_settings({"JWT_ALGORITHM": algorithm})


def test_the_key_s_file_is_read_once_and_again_when_it_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings({"DATA_DIR": str(tmp_path)})
    first = settings.signing_key()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_text", lambda path: pytest.fail(f"{path} is read again"))
        assert settings.signing_key() == first
    (tmp_path / SECRET_FILE).write_text("another key of more than thirty-two characters")
    assert settings.signing_key() == "another key of more than thirty-two characters"
    (tmp_path / SECRET_FILE).unlink()
    assert settings.signing_key() not in (first, "another key of more than thirty-two characters")
