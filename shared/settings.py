"""The configuration: the environment, read once, checked together.

With no DATABASE_URL and no REDIS_URL the addresses are those of the embedded servers, which
`stagebloom run` writes to DATA_DIR/servers.json, as it does where its gateway is reached. All faults are reported in one message.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from shared.errors import SettingsError
from shared.secret_key import kept_secret
from shared.setting_checks import (
    MIN_SECRET_LENGTH,
    BrokerOrNone,
    HttpOrNone,
    MailServerOrNone,
    Names,
    OriginOrNone,
    Origins,
    PostgresqlOrNone,
    PublicKeys,
    Rates,
    RedisOrNone,
    SecretKey,
    Sender,
    SigningSecret,
)

SERVERS_FILE = "servers.json"
LOCALE = r"[a-z]{2,3}(-[A-Za-z0-9]{1,8}){0,3}"
NO_SERVERS = "no server is running in {data_dir}: start it with `stagebloom run`, or set {key}"


class Settings(BaseModel):
    """All settings. A field's first alias is its environment variable; units stand in the name."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    data_dir: Path = Field(
        Path(".data"), alias="DATA_DIR", description="where the embedded servers and logs keep their files"
    )
    host: str = Field("127.0.0.1", alias="HOST", description="address the gateway listens on")
    port: int = Field(8000, alias="PORT", ge=1, le=65535, description="port the gateway listens on")
    public_url: OriginOrNone = Field(
        None,
        alias="PUBLIC_URL",
        description="address that browsers reach the gateway at; none: http://HOST:PORT, or that of the running `stagebloom run`",
    )
    database_url: PostgresqlOrNone = Field(
        None, repr=False, alias="DATABASE_URL", description="PostgreSQL; none: the embedded server"
    )
    redis_url: RedisOrNone = Field(
        None,
        repr=False,
        validation_alias=AliasChoices("REDIS_URL", "CHANNEL_LAYERS"),
        description="Redis or Valkey for pub/sub; none: the embedded server",
    )
    broker_url: BrokerOrNone = Field(
        None, repr=False, alias="BROKER_URL", description="Celery's broker; none: as REDIS_URL"
    )
    database_pool_size: int = Field(
        8, alias="DATABASE_POOL_SIZE", ge=1, le=200, description="connections a process keeps to PostgreSQL"
    )

    secret_key: SecretKey = Field(
        "",
        repr=False,
        alias="SECRET_KEY",
        description="signs tokens (HS256) and sessions, 32 characters or more; none: made once and kept in DATA_DIR",
    )
    jwt_algorithm: Literal["HS256", "RS256"] = Field(
        "HS256",
        alias="JWT_ALGORITHM",
        description="how bearer tokens are signed: HS256 with SECRET_KEY, RS256 by an identity provider",
    )
    jwt_jwks_url: PublicKeys = Field(
        None,
        alias="JWT_JWKS_URL",
        validate_default=True,
        description="http(s) or file address of the identity provider's public keys; needed with RS256",
    )
    jwt_jwks_refresh_seconds: int = Field(
        300, alias="JWT_JWKS_REFRESH_SECONDS", ge=1, description="how old these keys may be before they are read again"
    )
    jwt_jwks_retry_seconds: int = Field(
        10,
        alias="JWT_JWKS_RETRY_SECONDS",
        ge=1,
        description="pause between two readings when a token names an unknown key",
    )
    jwt_issuer: str = Field("stagebloom", alias="JWT_ISSUER", description="`iss` that tokens must carry")
    jwt_audience: str = Field("notifications", alias="JWT_AUDIENCE", description="`aud` that tokens must carry")
    jwt_person_claim: str = Field(
        "sub", alias="JWT_PERSON_CLAIM", min_length=1, description="claim that names the person"
    )
    token_lifetime_seconds: int = Field(
        43_200, alias="TOKEN_LIFETIME_SECONDS", ge=1, description="of tokens that `stagebloom token` makes"
    )
    session_lifetime_seconds: int = Field(
        43_200, alias="SESSION_LIFETIME_SECONDS", ge=1, description="of browser sessions"
    )
    allowed_origins: Origins = Field(
        (),
        alias="ALLOWED_ORIGINS",
        description="other origins whose pages may connect, comma-separated; `*` is refused",
    )
    send_roles: Names = Field(("admin", "rh"), alias="SEND_ROLES", description="roles that may send to roles over HTTP")
    broadcast_roles: Names = Field(
        ("admin",), alias="BROADCAST_ROLES", description="roles that may send to everyone over HTTP"
    )
    send_limits: Rates = Field(
        {"admin": 100, "rh": 20, "*": 20},
        alias="SEND_LIMITS",
        description="sends a second over HTTP that a person may make, by role, such as admin=100,rh=20,*=20; * is every other role; the highest of a person's roles counts; 0: no limit",
    )
    api_limit: int = Field(
        300,
        alias="API_LIMIT",
        ge=0,
        description="REST requests a second that a person may make to a gateway; 0: no limit",
    )
    demo: bool | None = Field(
        None, alias="DEMO", description="serve the page with four people; none: with embedded servers on loopback only"
    )

    default_locale: str = Field(
        "fr", alias="DEFAULT_LOCALE", pattern=f"^{LOCALE}$", description="language of texts that come without one"
    )
    catalog_file: Path | None = Field(
        None, alias="CATALOG_FILE", description="JSON file with the application's own event types; none: StageBloom's"
    )
    notification_batch_size: int = Field(
        1000, alias="NOTIFICATION_BATCH_SIZE", ge=1, le=10_000, description="people stored in one statement"
    )
    notification_queue_size: int = Field(
        1000,
        alias="NOTIFICATION_QUEUE_SIZE",
        ge=1,
        description="messages kept waiting in the broker; further ones are left to the sweep, nothing is refused",
    )
    notification_retention_days: int = Field(
        30, alias="NOTIFICATION_RETENTION_DAYS", ge=1, le=3650, description="older notifications are not shown"
    )
    notification_archive_dir: Path | None = Field(
        None,
        alias="NOTIFICATION_ARCHIVE_DIR",
        description="directory that old notifications are archived in before they are dropped; none: they are only dropped",
    )

    smtp_url: MailServerOrNone = Field(
        None,
        repr=False,
        alias="SMTP_URL",
        description="mail server: smtps://user:password@host:465, smtp+starttls://user:password@host:587 or smtp://host:25; none: no mails",
    )
    email_from: Sender = Field(
        None,
        alias="EMAIL_FROM",
        validate_default=True,
        description="sender of mails, such as StageBloom <notifications@example.org>; needed with SMTP_URL",
    )
    email_fallback: bool = Field(
        True,
        alias="EMAIL_FALLBACK",
        description="with SMTP_URL: mail critical notifications that a person has not confirmed",
    )
    email_fallback_after_seconds: int = Field(
        60,
        alias="EMAIL_FALLBACK_AFTER_SECONDS",
        ge=1,
        le=86_400,
        description="how long a person has to confirm a critical notification before it is mailed",
    )
    email_link_base: HttpOrNone = Field(
        None,
        alias="EMAIL_LINK_BASE",
        description="http(s) address put before links that are paths, in mails; none: such links are left out",
    )
    webhook_url: HttpOrNone = Field(
        None,
        repr=False,
        alias="WEBHOOK_URL",
        description="http(s) address that gets every processed event; none: no webhook",
    )
    webhook_secret: SigningSecret = Field(
        None,
        repr=False,
        alias="WEBHOOK_SECRET",
        validate_default=True,
        description="signs webhooks: whsec_ and 24 to 64 bytes in base64; needed with WEBHOOK_URL",
    )
    webhook_allow_private: bool = Field(
        False, alias="WEBHOOK_ALLOW_PRIVATE", description="let WEBHOOK_URL lead to private and loopback addresses"
    )

    max_body_bytes: int = Field(65_536, alias="MAX_BODY_BYTES", ge=1024, description="largest HTTP body")
    max_sockets: int = Field(20_000, alias="MAX_SOCKETS", ge=1, description="WebSockets a gateway process holds")
    max_sockets_per_person: int = Field(
        50, alias="MAX_SOCKETS_PER_PERSON", ge=1, description="WebSockets of one person that a gateway process holds"
    )
    max_unauthenticated_per_address: int = Field(
        200,
        alias="MAX_UNAUTHENTICATED_PER_ADDRESS",
        ge=1,
        description="WebSockets of one address that have not said who they are",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", alias="LOG_LEVEL", description="least severe line that is logged"
    )
    log_format: Literal["console", "json"] = Field("console", alias="LOG_FORMAT", description="how log lines look")

    @property
    def mails_critical(self) -> bool:
        """Whether critical notifications that nobody confirmed go by mail."""
        return self.email_fallback and self.smtp_url is not None

    @property
    def embedded_database(self) -> bool:
        return self.database_url is None

    @property
    def embedded_redis(self) -> bool:
        return self.redis_url is None

    @property
    def database(self) -> str:
        """The PostgreSQL address in effect. Raises: SettingsError when none is set and none is running."""
        return self.database_url or self._embedded("database_url", "DATABASE_URL")

    @property
    def redis(self) -> str:
        """The Redis address in effect. Raises: SettingsError when none is set and none is running."""
        return self.redis_url or self._embedded("redis_url", "REDIS_URL")

    @property
    def broker(self) -> str:
        """The broker's address in effect: BROKER_URL, or else Redis."""
        return self.broker_url or self.redis

    @property
    def public_address(self) -> str:
        """Where browsers reach the gateway: PUBLIC_URL, or else where it listens.

        With none of PUBLIC_URL, HOST and PORT set: where the last `stagebloom run` on DATA_DIR had its gateway.
        """
        if self.public_url:
            return self.public_url
        if self.model_fields_set.isdisjoint(("host", "port")) and (recorded := self._recorded("public_address")):
            return recorded
        return self.local_address

    @property
    def local_address(self) -> str:
        """Where a browser on this machine finds a gateway that listens on HOST and PORT."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)  # "all" is no address
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def is_demo(self) -> bool:
        """Whether the page with four people may be served: said so, or embedded servers on loopback."""
        if self.demo is not None:
            return self.demo
        return self.embedded_database and self.host in ("127.0.0.1", "localhost", "::1")

    def _embedded(self, name: str, key: str) -> str:
        address = self._recorded(name)
        if address is None:
            raise SettingsError(NO_SERVERS.format(data_dir=self.data_dir, key=key), key=key)
        return address

    def _recorded(self, name: str) -> str | None:
        """What `stagebloom run` has written to DATA_DIR, if it has."""
        try:
            return str(json.loads((self.data_dir / SERVERS_FILE).read_text())[name])
        except (OSError, KeyError, ValueError, TypeError):
            return None

    def signing_key(self) -> str:
        """SECRET_KEY, or one that is made once and kept in DATA_DIR (readable by this user only)."""
        if self.secret_key:
            return self.secret_key
        return kept_secret(self.data_dir, MIN_SECRET_LENGTH)


def environment_name(field: str) -> str:
    """The environment variable a field is read from."""
    return _environmentAliasChoices(field)[0]


def _environmentAliasChoices(field: str) -> list[str]:
    info = Settings.model_fields[field]
    alias = info.validation_alias
    return [str(name) for name in alias.choices] if isinstance(alias, AliasChoices) else [str(info.alias)]


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check the environment. Empty variables count as unset.

    Raises: SettingsError naming every key at fault, its value and what was expected.
    """
    source = os.environ if environ is None else environ
    names = {name for field in Settings.model_fields for name in _environmentAliasChoices(field)}
    given = {key: value for key, value in source.items() if key in names and value != ""}
    given["DATA_DIR"] = str(Path(given.get("DATA_DIR", ".data")).expanduser().absolute())
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        faults = [_fault(item) for item in error.errors()]
        raise SettingsError("Settings at fault:\n  " + "\n  ".join(faults), faults=faults) from None


def _fault(item: Any) -> str:
    key = str(item["loc"][0]) if item["loc"] else "?"
    key = environment_name(key) if key in Settings.model_fields else key  # of a default: pydantic names the field
    shown = "<hidden>" if key.endswith(("_KEY", "_URL", "_SECRET")) or key == "CHANNEL_LAYERS" else repr(item["input"])
    return f"{key}={shown}: {item['msg'].removeprefix('Value error, expected ').removeprefix('Value error, ')}"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process."""
    return load_settings()
