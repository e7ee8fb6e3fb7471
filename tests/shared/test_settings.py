"""The configuration: read once, all faults together, and no secret in any message."""

from __future__ import annotations

import json
import multiprocessing
import stat
from pathlib import Path
from typing import Any

import pytest

from shared.addresses import parse_smtp_url
from shared.errors import SettingsError
from shared.secret_key import SECRET_FILE
from shared.settings import SERVERS_FILE, Settings, environment_name, load_settings

POSTGRES = "postgresql://user:pass@host:5432/name"


def load(tmp_path: Path, **environ: str) -> Settings:
    return load_settings({"DATA_DIR": str(tmp_path), **environ})


def test_an_empty_environment_is_a_whole_configuration() -> None:
    settings = load_settings({})
    assert (settings.host, settings.port, settings.notification_batch_size) == ("127.0.0.1", 8000, 1000)
    assert (settings.notification_queue_size, settings.notification_retention_days) == (1000, 30)
    assert settings.data_dir == Path.cwd() / ".data"
    assert settings.embedded_database
    assert settings.embedded_redis


def test_empty_variables_count_as_unset() -> None:
    assert load_settings({environment_name(name): "" for name in Settings.model_fields}) == load_settings({})


def test_every_setting_has_one_name_in_upper_case_and_a_meaning() -> None:
    for field, info in Settings.model_fields.items():
        assert environment_name(field) == field.upper()
        assert info.description


def test_names_in_lower_case_and_of_others_are_not_ours() -> None:
    assert load_settings({"host": "0.0.0.0", "port": "1", "PATH": "/bin", "HOSTNAME": "x"}) == load_settings({})


def test_all_faults_are_in_one_message_with_key_value_and_expectation() -> None:
    faulty = {
        "PORT": "80000", "NOTIFICATION_BATCH_SIZE": "many", "LOG_LEVEL": "LOUD", "DEMO": "perhaps", "DEFAULT_LOCALE": "Français",
        "ALLOWED_ORIGINS": "https://fine.test,*", "DATABASE_URL": "mysql://u:p@h/x", "REDIS_URL": "http://h", "BROKER_URL": "nonsense",
        "SECRET_KEY": "short", "NOTIFICATION_RETENTION_DAYS": "0", "MAX_BODY_BYTES": "-1",
    }  # fmt: skip
    with pytest.raises(SettingsError) as refused:
        load_settings(faulty)
    message = refused.value.message
    assert len(refused.value.details["faults"]) == len(faulty)
    for key in faulty:
        assert f"\n  {key}=" in message
    for told in (
        "PORT='80000'",
        "less than or equal to 65535",
        "'many'",
        "'DEBUG', 'INFO'",
        "not *",
        "postgresql://user:password@host",
        "32 characters",
    ):
        assert told in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DATABASE_URL", "postgresql://u:hunter2@host:port/x"),
        ("DATABASE_URL", "mysql://u:hunter2@host/x"),
        ("REDIS_URL", "http://:hunter2@host"),
        ("CHANNEL_LAYERS", "http://:hunter2@host"),
        ("BROKER_URL", "sqs://:hunter2@host"),
        ("SECRET_KEY", "hunter2"),
    ],
)
def test_no_secret_stands_in_a_message(key: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({key: value})
    assert key in refused.value.message
    assert "hunter2" not in refused.value.message + str(refused.value.details)


def test_no_secret_stands_in_the_repr() -> None:
    settings = load_settings({
        "DATABASE_URL": "postgresql://u:hunter2@h/x", "REDIS_URL": "redis://:hunter2@h", "BROKER_URL": "amqp://u:hunter2@h//", "SECRET_KEY": "hunter2" * 8,
    })  # fmt: skip
    assert "hunter2" not in repr(settings) + str(settings)


@pytest.mark.parametrize("given", ["postgres://u:p@h/x", "postgresql://u:p@h/x", "postgresql+psycopg2://u:p@h/x"])
def test_every_way_to_name_postgresql_is_understood(given: str) -> None:
    assert load_settings({"DATABASE_URL": given}).database == "postgresql+psycopg2://u:p@h/x"


@pytest.mark.parametrize(
    "given", ["postgresql:", "postgresqlx://u@h/x", "sqlite:///x", "h:5432", "postgresql://h:port/x"]
)
def test_an_address_that_is_none_is_refused_before_it_is_used(given: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL"):
        load_settings({"DATABASE_URL": given})


def test_channel_layers_is_the_redis_url_of_the_earlier_system() -> None:
    settings = load_settings({"CHANNEL_LAYERS": "redis://localhost:6379/0"})
    assert settings.redis == settings.broker == "redis://localhost:6379/0"
    assert not settings.embedded_redis
    assert load_settings({"CHANNEL_LAYERS": "redis://old", "REDIS_URL": "redis://new"}).redis == "redis://new"


def test_the_broker_is_redis_unless_another_is_named() -> None:
    settings = load_settings({"REDIS_URL": "redis://h/0", "BROKER_URL": "amqp://u:p@h:5672//"})
    assert (settings.redis, settings.broker) == ("redis://h/0", "amqp://u:p@h:5672//")


def test_the_embedded_addresses_are_those_of_the_run_in_the_data_directory(tmp_path: Path) -> None:
    settings = load(tmp_path)
    for read in ("database", "redis", "broker"):
        with pytest.raises(SettingsError, match=f"no server is running in {tmp_path}.*stagebloom run"):
            getattr(settings, read)
    (tmp_path / SERVERS_FILE).write_text(
        json.dumps({"database_url": "postgresql+psycopg2://a", "redis_url": "redis://b"})
    )
    assert (settings.database, settings.redis, settings.broker) == ("postgresql+psycopg2://a", "redis://b", "redis://b")
    assert load(tmp_path, DATABASE_URL=POSTGRES).redis == "redis://b"


def test_where_the_running_gateway_is_reached_is_known_unless_said_otherwise(tmp_path: Path) -> None:
    assert load(tmp_path).public_address == "http://127.0.0.1:8000"
    (tmp_path / SERVERS_FILE).write_text(json.dumps({"public_address": "http://127.0.0.1:9123"}))
    assert load(tmp_path).public_address == "http://127.0.0.1:9123"
    assert load(tmp_path, PORT="8000").public_address == "http://127.0.0.1:8000"
    assert load(tmp_path, HOST="::").public_address == "http://[::1]:8000"
    assert load(tmp_path, PUBLIC_URL="https://a.test").public_address == "https://a.test"


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "{}", '"x"', "null"])
def test_a_servers_file_that_can_not_be_read_means_that_none_runs(tmp_path: Path, content: str) -> None:
    (tmp_path / SERVERS_FILE).write_text(content)
    with pytest.raises(SettingsError, match="no server is running"):
        _ = load(tmp_path).redis


def test_lists_are_separated_by_commas() -> None:
    assert load_settings({"SEND_LIMITS": "rh=5, *=0"}).send_limits == {"rh": 5, "*": 0}
    for wrong in ("rh", "rh=", "=5", "rh=-1", "rh=1.5", "rh=5;admin=6"):
        with pytest.raises(SettingsError, match="SEND_LIMITS=.*such as admin=100"):
            load_settings({"SEND_LIMITS": wrong})
    settings = load_settings(
        {"SEND_ROLES": " admin , tuteur,,", "ALLOWED_ORIGINS": "https://a.test,http://b.test:8080"}
    )
    assert settings.send_roles == ("admin", "tuteur")
    assert settings.allowed_origins == ("https://a.test", "http://b.test:8080")


@pytest.mark.parametrize(
    "origin",
    ["*", "https://*.test", "https://a.test/", "https://a.test/path", "a.test", "https://", "null", "https://u@a.test"],
)
def test_an_origin_is_a_scheme_a_host_and_no_more(origin: str) -> None:
    with pytest.raises(SettingsError, match="ALLOWED_ORIGINS"):
        load_settings({"ALLOWED_ORIGINS": origin})


@pytest.mark.parametrize(
    ("environ", "is_demo"),
    [
        ({}, True),
        ({"HOST": "localhost"}, True),
        ({"HOST": "0.0.0.0"}, False),
        ({"DATABASE_URL": POSTGRES}, False),
        ({"DATABASE_URL": POSTGRES, "DEMO": "true"}, True),
        ({"DEMO": "0"}, False),
    ],
)
def test_the_demonstration_is_for_this_machine_unless_said(environ: dict[str, str], is_demo: bool) -> None:
    assert load_settings(environ).is_demo is is_demo


def test_settings_can_not_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings({}).port = 1  # type: ignore[misc]


def test_the_data_directory_is_absolute_and_knows_the_home() -> None:
    assert load_settings({"DATA_DIR": "~/x"}).data_dir == Path.home() / "x"
    assert load_settings({"DATA_DIR": "x"}).data_dir == Path.cwd() / "x"


def test_a_secret_is_made_once_and_is_this_user_s_alone(tmp_path: Path) -> None:
    data_dir = tmp_path / "new"
    key = load(data_dir).signing_key()
    assert len(key) >= 43  # 256 bits
    assert load(data_dir).signing_key() == key
    assert stat.S_IMODE((data_dir / SECRET_FILE).stat().st_mode) == 0o600
    assert [path.name for path in data_dir.iterdir()] == [SECRET_FILE]
    assert load(data_dir, SECRET_KEY="k" * 32).signing_key() == "k" * 32


def _make_key(data_dir: Path, barrier: Any, keys: Any) -> None:
    barrier.wait()
    keys.put(load(data_dir).signing_key())


def test_processes_that_make_the_secret_at_once_end_with_the_same(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, keys = context.Barrier(8), context.SimpleQueue()
    processes = [context.Process(target=_make_key, args=(tmp_path, barrier, keys)) for _ in range(8)]
    for process in processes:
        process.start()
    made = {keys.get() for _ in processes}
    for process in processes:
        process.join()
    assert made == {(tmp_path / SECRET_FILE).read_text()}


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 64])
def test_a_secret_that_was_cut_short_signs_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SECRET_FILE).write_bytes(content)
    with pytest.raises(SettingsError, match="SECRET_KEY"):
        load(tmp_path).signing_key()


def test_a_data_directory_that_can_not_be_used_is_a_fault_with_a_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="SECRET_KEY.*can't be used"):
        load(tmp_path / "file").signing_key()


SECRET = "whsec_" + "QUJD" * 10


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("smtp://mail.test", ("mail.test", 25, "none", None, None)),
        ("smtp://mail.test:2525/", ("mail.test", 2525, "none", None, None)),
        ("smtps://u:p%40%2F%3A@mail.test", ("mail.test", 465, "implicit", "u", "p@/:")),
        ("smtp+starttls://u%40x.test:p@mail.test", ("mail.test", 587, "starttls", "u@x.test", "p")),
        ("smtp://u:p@mail.test:25?tls=starttls", ("mail.test", 25, "starttls", "u", "p")),
        ("smtp://u:p@mail.test?tls=implicit", ("mail.test", 465, "implicit", "u", "p")),
        ("smtp://u:p@mail.test?tls=none", ("mail.test", 25, "none", "u", "p")),
        ("smtp://[::1]:25", ("::1", 25, "none", None, None)),
    ],
)
def test_every_way_to_name_a_mail_server_is_understood(address: str, expected: tuple[object, ...]) -> None:
    settings = load_settings({"SMTP_URL": address, "EMAIL_FROM": "StageBloom <a@b.test>"})
    found = parse_smtp_url(settings.smtp_url or "")
    assert (found.host, found.port, found.tls, found.user, found.password) == expected
    assert settings.mails_critical


@pytest.mark.parametrize(
    "address",
    [
        "mail.test",
        "http://mail.test",
        "smtp://",
        "smtp://h:x",
        "smtp://h:0",
        "smtp://h/path",
        "smtp://h?tls=maybe",
        "smtps://h?tls=none",
        "smtp://h?x=1",
        "smtp://u:hunter2@h",
    ],
)
def test_a_mail_server_that_can_not_be_used_or_would_leak_its_password_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="SMTP_URL") as refused:
        load_settings({"SMTP_URL": address, "EMAIL_FROM": "a@b.test"})
    assert "hunter2" not in refused.value.message


@pytest.mark.parametrize("sender", [None, "nobody", "a@b.test\nBcc: c@d.test", "A\r\nX: y <a@b.test>", "@b.test"])
def test_mails_need_a_sender(sender: str | None) -> None:
    with pytest.raises(SettingsError, match="EMAIL_FROM"):
        load_settings({"SMTP_URL": "smtp://h", **({} if sender is None else {"EMAIL_FROM": sender})})


@pytest.mark.parametrize("secret", [None, "short", "whsec_QUJD", "whsec_" + "QUJD" * 30, "whsec_%%%" + "QUJD" * 10])
def test_a_webhook_needs_a_secret_that_is_one(secret: str | None) -> None:
    with pytest.raises(SettingsError, match="WEBHOOK_SECRET") as refused:
        load_settings({"WEBHOOK_URL": "https://h.test/", **({} if secret is None else {"WEBHOOK_SECRET": secret})})
    assert "QUJD" not in refused.value.message


@pytest.mark.parametrize(
    "address",
    [
        "ftp://h",
        "https://",
        "h.test",
        "https://u:p@h.test",
        "http://h.test:x/",
        "http://h.test/ x",
        "http://h.test/\nx",
    ],
)
def test_a_webhook_goes_to_an_http_address(address: str) -> None:
    with pytest.raises(SettingsError, match="WEBHOOK_URL"):
        load_settings({"WEBHOOK_URL": address, "WEBHOOK_SECRET": SECRET})


def test_without_a_mail_server_nothing_is_mailed() -> None:
    assert not load_settings({}).mails_critical
    assert not load_settings(
        {"SMTP_URL": "smtp://h", "EMAIL_FROM": "a@b.test", "EMAIL_FALLBACK": "false"}
    ).mails_critical
