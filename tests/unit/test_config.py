"""The configuration: each key from file and environment, each mistake named."""

from __future__ import annotations

import os
import threading

import pytest
from pydantic import SecretStr

from callflows.config import ConfigError, Settings, load


@pytest.fixture(autouse=True)
def _clean(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith("CALLFLOWS_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_defaults_are_valid():
    """Without any configuration everything has a value."""
    assert load().worker_listen == "127.0.0.1:8084"


def test_environment_is_stronger_than_the_file(monkeypatch, tmp_path):
    """Defaults, then callflows.toml, then the environment."""
    (tmp_path / "callflows.toml").write_text('tries = 2\nlanguage = "ru"\n')
    monkeypatch.setenv("CALLFLOWS_TRIES", "5")
    settings = load()
    assert (settings.tries, settings.language) == (5, "ru")


@pytest.mark.parametrize("key", sorted(Settings.model_fields))
def test_every_key_has_an_environment_variable(key, monkeypatch):
    """A wrong value in any key's variable is named, or (free text) taken."""
    monkeypatch.setenv(f"CALLFLOWS_{key.upper()}", "?? ?")
    told = ""
    try:
        value = getattr(load(), key)
        told = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    except ConfigError as error:
        told = str(error)
    assert key in told or "?? ?" in told


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("CALLFLOWS_WORKER_LISTEN", "localhost", "worker_listen"),
        ("CALLFLOWS_WORKER_LISTEN", "h:99999", "worker_listen"),
        ("CALLFLOWS_DATABASE_URL", "mysql://x", "database_url"),
        ("CALLFLOWS_TRIES", "0", "tries"),
        ("CALLFLOWS_TIMEZONE", "Mars/Olympus", "timezone"),
        ("CALLFLOWS_SERVICES", '{"2000": "nothing"}', "services"),
        ("CALLFLOWS_SERVICES", "not json", "services"),
        ("CALLFLOWS_PREMIUM_GUARDS", '{"line_cals": 3}', "no such limit: line_cals"),
        ("CALLFLOWS_PREMIUM_GUARDS", '{"line_calls": -3}', "premium_guards.line_calls"),
        ("CALLFLOWS_DIAL_STRING", "sofia/gateway/carrier/", "dial_string"),
        ("CALLFLOWS_DIAL_STRING", "[a=b]sofia/gateway/carrier/{national}", "dial_string"),
        ("CALLFLOWS_ANNOUNCE_CONTEXT", "public absent", "announce_context"),
        ("CALLFLOWS_DIALER_LEASE_S", "0", "dialer_lease_s"),
        ("CALLFLOWS_CARE_NUMBER", "20;20", "care_number"),
        ("CALLFLOWS_WORKER_LISTN", "127.0.0.1:1", "CALLFLOWS_WORKER_LISTN"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(name, value, key, monkeypatch):
    """Before anything starts, the error says which key is wrong."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=key):
        load()


def test_all_mistakes_are_told_at_once(monkeypatch):
    """An operator mends the file once, not key by key."""
    monkeypatch.setenv("CALLFLOWS_TRIES", "0")
    monkeypatch.setenv("CALLFLOWS_REGION", "iran")
    with pytest.raises(ConfigError) as caught:
        load()
    assert "tries" in str(caught.value)
    assert "region" in str(caught.value)


def test_unknown_key_in_the_file(tmp_path):
    """A misspelt key in callflows.toml is an error, not silence."""
    (tmp_path / "callflows.toml").write_text('databse_url = "sqlite:///x"\n')
    with pytest.raises(ConfigError, match="databse_url: no such configuration key"):
        load()


def test_a_file_that_is_not_toml(tmp_path):
    """The error names the file."""
    (tmp_path / "callflows.toml").write_text("tries = = 2")
    with pytest.raises(ConfigError, match=r"callflows\.toml: not TOML"):
        load()


def test_a_named_file_must_be_there(monkeypatch):
    """CALLFLOWS_CONFIG that leads nowhere is an error."""
    monkeypatch.setenv("CALLFLOWS_CONFIG", "nowhere.toml")
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load()


def test_gateways_need_their_address(monkeypatch):
    """Choosing a gateway without its address is named at once."""
    monkeypatch.setenv("CALLFLOWS_SMS_GATEWAY", "http")
    with pytest.raises(ConfigError, match="sms_http_url"):
        load()


def test_a_generated_secret_is_kept_private_and_the_same_for_all(tmp_path):
    """Processes that start together agree on one secret, readable by its owner only."""
    settings = load(state_dir=tmp_path / "state")
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(settings.secret("link_key"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found[0]) == 64
    file = tmp_path / "state" / "secrets" / "link_key"
    assert file.stat().st_mode & 0o077 == 0


def test_a_configured_secret_is_used_and_never_shown(monkeypatch):
    """The configured key wins, and the settings do not print it."""
    monkeypatch.setenv("CALLFLOWS_PAYMENT_KEY", "sesame-sesame-sesame")
    settings = load()
    assert settings.secret("payment_key") == "sesame-sesame-sesame"
    assert "sesame" not in repr(settings)
