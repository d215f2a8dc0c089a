"""The folder that plays the outside world, and the order of gateways to fall back on."""

from __future__ import annotations

import email
import email.policy
import json
import multiprocessing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateways.errors import Permanent, Temporary
from gateways.mail import Attachment, Mail, SandboxMail, compose
from gateways.sandbox import INDEX, read_index
from gateways.sms import FallbackSms, SandboxSms, SmsReceipt

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
TO = "+989121234567"


def sms(folder: Path) -> SandboxSms:
    return SandboxSms(folder, now=lambda: NOW)


def test_an_sms_is_a_readable_file_and_a_line(tmp_path):
    """A person reads the file, a program the line; both hold number, text and part count."""
    receipt = sms(tmp_path).send(TO, "سلام", "call-1/sms")
    (line,) = read_index(tmp_path)
    assert line["to"] == TO
    assert line["text"] == "سلام"
    assert (line["parts"], line["encoding"]) == (1, "UCS-2")
    assert line["at"] == NOW.isoformat()
    assert line["reference"] == receipt.reference
    text = (tmp_path / line["file"]).read_text()
    assert text == f"To: {TO}\nParts: 1 (UCS-2, 4 units)\n\nسلام\n"


def test_the_same_key_is_one_message(tmp_path):
    """Sending again after a crash changes nothing and gives the same receipt."""
    gateway = sms(tmp_path)
    assert gateway.send(TO, "one", "k") == sms(tmp_path).send(TO, "one", "k")
    gateway.send(TO, "two", "k2")
    assert [line["text"] for line in read_index(tmp_path)] == ["one", "two"]


def test_a_line_lost_by_a_crash_is_made_good(tmp_path):
    """Killed between the file and its line: sending again completes the index."""
    sms(tmp_path).send(TO, "one", "k")
    (tmp_path / INDEX).unlink()
    sms(tmp_path).send(TO, "one", "k")
    assert len(read_index(tmp_path)) == 1


def test_a_line_being_written_is_not_read_yet(tmp_path):
    """A reader never sees half a line."""
    sms(tmp_path).send(TO, "one", "k")
    with (tmp_path / INDEX).open("a") as index:
        index.write('{"to": "+98')
    assert len(read_index(tmp_path)) == 1


def _send_many(folder: str, process: int) -> None:
    gateway = SandboxSms(Path(folder))
    for n in range(20):
        gateway.send(TO, f"{n}", f"shared-{n}")
        gateway.send(TO, f"{process}.{n}", f"own-{process}-{n}")


def test_several_processes_write_one_folder(tmp_path):
    """Three processes at once: no line is torn or missing, shared keys are one message each."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_send_many, args=(str(tmp_path), n)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    lines = read_index(tmp_path)
    assert len(lines) == 20 + 3 * 20
    assert len({line["file"] for line in lines}) == 80
    assert not list(tmp_path.glob(".new-*"))


def test_the_folder_is_for_its_owner_alone(tmp_path):
    """What lies there is personal data."""
    sms(tmp_path / "sms")
    assert (tmp_path / "sms").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_written_is_temporary(tmp_path):
    """A full disk or a removed folder is no reason to give a message up."""
    gateway = sms(tmp_path / "sms")
    (tmp_path / "sms").rmdir()
    with pytest.raises(Temporary, match="No such file"):
        gateway.send(TO, "x", "k")


MAIL = Mail(
    to="who@example.org",
    subject="قبض",
    text="متن\n",
    language="fa",
    attachments=[Attachment("bill.png", "image/png", b"\x89PNG")],
)


def test_a_mail_is_an_eml_file(tmp_path):
    """Any mail program opens it: subject, body, attachment."""
    message_id = SandboxMail(tmp_path, now=lambda: NOW).send(MAIL, "k")
    (line,) = read_index(tmp_path)
    message = email.message_from_bytes(
        (tmp_path / line["file"]).read_bytes(), policy=email.policy.default
    )
    assert message["To"] == "who@example.org"
    assert message["Subject"] == "قبض"
    assert message["Message-ID"] == message_id == line["message_id"]
    assert message.get_body().get_content().strip() == "متن"
    (attachment,) = message.iter_attachments()
    assert attachment.get_filename() == "bill.png"
    assert attachment.get_content() == b"\x89PNG"


def test_a_repeated_mail_has_the_same_message_id():
    """So that a server or a reader can drop the repetition; another key has another."""
    first = compose(MAIL, "bills@example.net", "k", NOW)
    assert first["Message-ID"] == compose(MAIL, "bills@example.net", "k", NOW)["Message-ID"]
    assert first["Message-ID"] != compose(MAIL, "bills@example.net", "k2", NOW)["Message-ID"]
    assert first["Message-ID"].endswith("@example.net>")


@pytest.mark.parametrize(
    "address",
    [
        "who@example.org\r\nBcc: all@example.org",
        "who@example.org, all@example.org",
        "Name <who@example.org>",
        "who",
        "@example.org",
        "",
        "who@",
        "a b@example.org",
        "who@exa mple.org",
        "who@" + "x" * 70 + ".org",
        "who@example.org\x00",
        "نام@example.org",
    ],
)
def test_what_is_not_one_address_is_refused(address):
    """Nothing in an address can add a header or a recipient; the reason does not repeat it."""
    with pytest.raises(Permanent) as caught:
        compose(Mail(address, "s", "t", "en"), "bills@example.net", "k", NOW)
    assert caught.value.reason == "mail: not an e-mail address"


def test_a_subject_cannot_add_a_header():
    """Line breaks in a subject are refused."""
    with pytest.raises(Permanent, match="subject"):
        compose(Mail("a@b.org", "x\r\nBcc: c@d.org", "t", "en"), "s@b.org", "k", NOW)


def test_an_international_domain_is_sent_in_ascii():
    """IDNA in the envelope and the header, whatever the subscriber typed."""
    message = compose(Mail("a@пример.рф", "s", "t", "ru"), "s@b.org", "k", NOW)
    assert message["To"] == "a@xn--e1afmkfd.xn--p1ai"


class Gateway:
    """A gateway that does what it is told, and remembers that it was asked."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault
        self.asked = 0

    def send(self, to: str, text: str, key: str) -> SmsReceipt:
        self.asked += 1
        if self.fault:
            raise self.fault
        return SmsReceipt("r", 1)


def test_the_second_gateway_helps_out():
    """The next gateway sends what the first surely did not."""
    second = Gateway()
    assert FallbackSms([Gateway(Temporary("away")), second]).send(TO, "x", "k").reference == "r"


@pytest.mark.parametrize("fault", [Temporary("lost", maybe_sent=True), Permanent("no such number")])
def test_no_fallback_where_it_could_be_a_second_message(fault):
    """A lost answer or a permanent refusal is not passed on to another operator."""
    second = Gateway()
    with pytest.raises(type(fault)):
        FallbackSms([Gateway(fault), second]).send(TO, "x", "k")
    assert second.asked == 0


def test_all_gateways_away_is_temporary():
    """The reason names each gateway's fault, the wait is the shortest asked for."""
    gateways = [Gateway(Temporary("a", retry_after_s=60)), Gateway(Temporary("b", retry_after_s=9))]
    with pytest.raises(Temporary) as caught:
        FallbackSms(gateways).send(TO, "x", "k")
    assert caught.value.reason == "a; b"
    assert caught.value.retry_after_s == 9


def test_no_gateway_at_all_is_a_wrong_setting():
    """An empty list is named when the service starts."""
    with pytest.raises(ValueError, match="at least one"):
        FallbackSms([])


def test_index_lines_are_json_with_readable_letters(tmp_path):
    """Persian stays readable in the index."""
    sms(tmp_path).send(TO, "سلام", "k")
    raw = (tmp_path / INDEX).read_text()
    assert "سلام" in raw
    assert json.loads(raw)["to"] == TO
