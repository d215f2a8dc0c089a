"""`callflows doctor` against real servers: mail, Redis, databases, an event socket."""

from __future__ import annotations

import json
import os
import socket
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from billing.database import Database
from callflows.config import Settings
from cli.checks import HouseChecks
from cli.doctor import examine
from cli.main import command
from cli.switch_api import EventSocket, SwitchAway
from jobs.redis_server import EmbeddedRedis
from sounds import load_catalogue

CERT = Path(__file__).parents[1] / "data" / "tls" / "test-only-cert.pem"
SECRET = "a secret of the tests"


def findings(checks, subject: str):
    return [(each.state, each.text) for each in checks if each.subject == subject]


def house(tmp_path: Path, **settings: object) -> HouseChecks:
    given = {"state_dir": tmp_path / "var", "sounds_dir": tmp_path / "sounds"} | settings
    (tmp_path / "var").mkdir(exist_ok=True)
    return HouseChecks(Settings(**given), load_catalogue())


@contextmanager
def event_socket(*exchanges: tuple[bytes, bytes], greeting: bytes = b"auth/request"):
    """One connection of an event socket: greets, then answers what it reads, in order."""
    listener = socket.create_server(("127.0.0.1", 0))
    heard: list[bytes] = []

    def serve() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"Content-Type: " + greeting + b"\n\n")
            for expected, answer in exchanges:
                said = b""
                while not said.endswith(b"\n\n"):
                    data = peer.recv(1024)
                    if not data:
                        return
                    said += data
                heard.append(said)
                assert said == expected + b"\n\n"
                peer.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        thread.join(5)
    assert len(heard) == len(exchanges)


ACCEPTED = (b"auth pw", b"Content-Type: command/reply\nReply-Text: +OK accepted\n\n")


def test_an_event_socket_is_asked():
    """Log in, ask, read an answer that has a body with any bytes; events in between are passed."""
    answer = (
        b"Content-Type: text/event-plain\nContent-Length: 3\n\nabc"
        b"Content-Type: api/response\nContent-Length: 6\n\nyes\n\xff\n"
    )
    with (
        event_socket(ACCEPTED, (b"api version", answer)) as port,
        EventSocket("127.0.0.1", port, "pw") as switch,
    ):
        assert switch.api("version") == "yes\n\ufffd"


@pytest.mark.parametrize(
    ("exchanges", "greeting", "text"),
    [
        ([(ACCEPTED[0], ACCEPTED[1].replace(b"+OK accepted", b"-ERR invalid"))], None, "password"),
        ([], b"text/rude-rejection", "ACL"),
        ([], b"text/html", "no event socket"),
    ],
)
def test_a_switch_that_does_not_let_us_in(exchanges, greeting, text):
    """Each refusal is told apart, with what to do."""
    with (
        event_socket(*exchanges, greeting=greeting or b"auth/request") as port,
        pytest.raises(SwitchAway, match=text) as why,
    ):
        EventSocket("127.0.0.1", port, "pw")
    assert why.value.remedy


def test_a_switch_that_goes_silent_or_away():
    """No answer within the timeout, and an end of the connection, are errors and not hangs."""
    with (
        event_socket(ACCEPTED, (b"api version", b"")) as port,
        EventSocket("127.0.0.1", port, "pw") as switch,
        pytest.raises(SwitchAway),
    ):
        switch.api("version")
    with pytest.raises(SwitchAway, match="cannot connect"):
        EventSocket("127.0.0.1", 1, "pw")
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(SwitchAway, match="within"),
    ):
        EventSocket("127.0.0.1", silent.getsockname()[1], "pw", timeout_s=0.2)


@pytest.mark.parametrize(
    ("mode", "settings", "state", "text"),
    [
        ("starttls", {}, "pass", "TLS (starttls)"),
        ("implicit", {"smtp_tls": "implicit"}, "pass", "TLS (implicit)"),
        ("auth", {"smtp_user": "bills", "smtp_password": "right"}, "pass", "logged in"),
        ("auth", {"smtp_user": "bills", "smtp_password": SECRET}, "FAIL", "refuses the log-in"),
        ("plain", {}, "FAIL", "STARTTLS"),
        ("starttls", {"smtp_ca_file": None}, "FAIL", "certificate not trusted"),
    ],
)
def test_mail(smtp_server, tmp_path, mode, settings, state, text):
    """The server is asked for exactly what is configured; no mail is sent."""
    server = smtp_server(mode)
    given = {
        "mail_gateway": "smtp",
        "smtp_host": "localhost",
        "smtp_port": server.port,
        "smtp_ca_file": CERT,
    }
    ((found, said),) = findings(house(tmp_path, **(given | settings)).run(), "mail")
    assert found == state
    assert text in said
    assert SECRET not in said
    assert server.mails() == []


def test_redis_is_asked_for_its_version(tmp_path):
    """The one that `callflows run` starts; without it the line says how to get one."""
    (missing,) = findings(house(tmp_path).run(), "redis")
    assert missing[0] == "FAIL"
    with EmbeddedRedis(tmp_path / "var" / "redis"):
        (found,) = findings(house(tmp_path).run(), "redis")
    assert found[0] == "pass"
    assert found[1].startswith("Redis ")


def test_database_is_looked_at_and_left_as_it_is(tmp_path, empty_database_url, open_database_url):
    """Not migrated fails, and is not migrated by looking; a migrated one passes."""
    before = findings(house(tmp_path, database_url=empty_database_url).run(), "database")
    assert [state for state, _ in before] == ["FAIL"]
    again = findings(house(tmp_path, database_url=empty_database_url).run(), "database")
    assert again == before
    ((state, text),) = findings(house(tmp_path, database_url=open_database_url).run(), "database")
    assert (state, text.partition(",")[2]) == ("pass", f" schema {newest()}")


@pytest.fixture
def open_database_url(database_url: str) -> str:
    """The URL of a migrated database of the same kind."""
    return database_url


def newest() -> str:
    """The newest revision among the migrations."""
    folder = Path(__file__).parents[2] / "billing" / "migrations" / "versions"
    return max(file.name.split("_")[1] for file in folder.glob("rev_*.py"))


def test_a_database_that_is_away(tmp_path, monkeypatch):
    """One line, within the deadline; the URL's password is not in it."""
    monkeypatch.setattr("cli.checks.TIMEOUT_S", 0.3)
    url = f"postgresql://callflows:{SECRET.replace(' ', '')}@127.0.0.1:1/callflows"
    ((state, text),) = findings(house(tmp_path, database_url=url).run(), "database")
    assert state == "FAIL"
    assert SECRET.replace(" ", "") not in text


def test_sms_gateway_is_reached_and_nothing_is_sent(tmp_path):
    """A connection is all: no request, so no SMS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/sms"
        settings = {"sms_gateway": "http", "sms_http_url": url, "public_url": "https://pay.example"}
        found = findings(house(tmp_path, **settings).run(), "sms")
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(5)
            assert peer.recv(100) == b""
    assert found[0][0] == "pass"
    found = findings(house(tmp_path, **settings).run(), "sms")
    assert found[0][0] == "FAIL"


def test_links_that_lead_nowhere_are_named(tmp_path):
    """With real SMS, a public_url on loopback is a mistake."""
    settings = {"sms_gateway": "http", "sms_http_url": "http://127.0.0.1:1/"}
    assert findings(house(tmp_path, **settings).run(), "public_url")[0][0] == "FAIL"
    assert findings(house(tmp_path).run(), "public_url")[0][0] == "skip"


def test_secrets_that_everybody_may_read(tmp_path, monkeypatch):
    """Folder of secrets and configuration file; private ones pass."""
    monkeypatch.chdir(tmp_path)
    # pytest's own folders are closed to other accounts.
    monkeypatch.setattr("cli.checks.stat.S_IXOTH", 0o100)
    file = tmp_path / "callflows.toml"
    file.write_text('smtp_password = "x"\n')
    file.chmod(0o644)
    secrets = tmp_path / "var" / "secrets"
    secrets.mkdir(parents=True)
    secrets.chmod(0o755)
    store = tmp_path / "var" / "callflows.db"
    store.touch(0o644)
    given = {"smtp_user": "x", "smtp_password": "x", "database_url": f"sqlite:///{store}"}
    found = findings(house(tmp_path, **given).run(), "permissions")
    assert [state for state, _ in found] == ["FAIL"] * 3
    file.chmod(0o640)
    secrets.chmod(0o700)
    store.chmod(0o640)
    assert findings(house(tmp_path, **given).run(), "permissions")[0][0] == "pass"


def test_the_spool_of_missed_calls(tmp_path):
    """Missing, spoilt and forgotten notes fail; fresh ones pass."""
    spool = tmp_path / "spool"
    assert findings(house(tmp_path, missed_spool=spool).run(), "missed calls")[0][0] == "FAIL"
    spool.mkdir()
    note = spool / "a.json"
    note.write_text("{}")
    assert findings(house(tmp_path, missed_spool=spool).run(), "missed calls")[0][0] == "pass"
    os.utime(note, (1, 1))
    assert "wait" in findings(house(tmp_path, missed_spool=spool).run(), "missed calls")[0][1]
    note.rename(spool / "a.json.bad")
    assert "a.json.bad" in findings(house(tmp_path, missed_spool=spool).run(), "missed calls")[0][1]


def test_missing_recordings_are_counted(tmp_path):
    """By language, with one name to look for."""
    ((state, text),) = findings(house(tmp_path).run(), "recordings")
    assert state == "FAIL"
    assert "fa " in text
    assert ".wav" in text


def test_calendars_are_read_and_cover_this_year(tmp_path):
    """What a campaign would pause for is found before."""
    folder = tmp_path / "calendars"

    def found():
        ((state, text),) = findings(house(tmp_path, calendars_dir=folder).run(), "calendars")
        return state, text

    assert found()[0] == "FAIL"
    folder.mkdir()
    year = datetime.now(UTC).year
    calendar = "name: c\nweekend: [friday]\nyears: [{}]\nholidays: {{}}\n"
    years = ", ".join(str(each) for each in range(year - 1, year + 2))
    (folder / "ours.yaml").write_text(calendar.format(years))
    assert found()[0] == "pass"
    (folder / "old.yaml").write_text(calendar.format(year - 9))
    assert found()[0] == "FAIL"
    assert "covers" in found()[1]
    (folder / "old.yaml").write_text("weekend: friday")
    assert "old.yaml" in found()[1]


def test_the_worker_is_known_by_its_first_word(tmp_path):
    """A worker says `connect` at once; another program at that port is none."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = f"127.0.0.1:{listener.getsockname()[1]}"
        for word, state in ((b"connect\n\n", "pass"), (b"SSH-2.0\n", "FAIL")):
            answer = threading.Thread(
                target=lambda word=word: listener.accept()[0].sendall(word), daemon=True
            )
            answer.start()
            found = findings(house(tmp_path, worker_listen=where).run(), "worker")
            answer.join(5)
            assert found[0][0] == state


class _Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


def test_pages_are_asked_for_their_health(tmp_path):
    """The end point that load balancers ask."""
    server = HTTPServer(("127.0.0.1", 0), _Health)
    where = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.handle_request, daemon=True)
    thread.start()
    assert findings(house(tmp_path, web_listen=where).run(), "pages")[0][0] == "pass"
    thread.join(5)
    server.server_close()
    assert findings(house(tmp_path, web_listen=where).run(), "pages")[0][0] == "FAIL"


def test_without_a_switch_it_is_said_so(tmp_path):
    """Nothing is silently left out."""
    settings = Settings(state_dir=tmp_path, sounds_dir=tmp_path)
    last = list(examine(settings, load_catalogue()))[-1]
    assert (last.state, last.subject) == ("skip", "switch")
    wanted = Settings(state_dir=tmp_path, sounds_dir=tmp_path, control_addresses=["127.0.0.1:1"])
    assert list(examine(wanted, load_catalogue()))[-1].state == "FAIL"
    known = wanted.model_copy(
        update={"control_password": Settings(control_password="x").control_password}
    )
    last = list(examine(known, load_catalogue()))[-1]
    assert last.subject == "127.0.0.1:1: event socket"
    assert last.remedy


def test_the_command_ends_with_1_and_prints_json(tmp_path, monkeypatch):
    """For monitoring: exit code and machine-readable findings."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(command, ["doctor", "--json"])
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert {"subject", "state", "text", "remedy"} == set(found[0])
    shown = CliRunner().invoke(command, ["doctor"])
    assert "failed" in shown.stdout.splitlines()[-1]


def test_revisions_of_a_database_that_has_none(empty_database_url):
    """What the doctor shows of one that was never used."""
    database = Database(empty_database_url)
    assert database.revisions() == (None, newest())
    database.close()
