"""Call records as real switches send them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.cdr_document import LONGEST, Cdr, decode, parse
from billing.errors import InvalidCdr
from tests import cdr_forms

ONES_OWN = sorted(set(cdr_forms.NAMES) - {"encoded-values"})


def _at(microseconds: int) -> datetime:
    seconds, rest = divmod(microseconds, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def _changed(name: str, **variables: Any) -> bytes:
    record = cdr_forms.document(name)
    for variable, value in variables.items():
        if value is None:
            record["variables"].pop(variable)
        else:
            record["variables"][variable] = value
    return cdr_forms.dumped(record)


def test_a_transferred_call() -> None:
    """The caller's leg keeps the number first dialled, and says when it was handed on."""
    cdr = parse(cdr_forms.body("transferred"))
    assert (cdr.uuid, cdr.core_uuid, cdr.leg, cdr.direction, cdr.switch) == (
        "42a1c748-e8c7-4e56-b95a-bc4b642ddd12",
        "0c150f30-908b-4c62-8f5c-f4ea0c191247",
        "a",
        "inbound",
        "fs1",
    )
    assert (cdr.caller, cdr.dialled, cdr.flow, cdr.offered) == ("02188776655", "2000", "bill", True)
    assert cdr.started_at == _at(1795296090609315)
    assert cdr.answered_at == _at(1795296090629292)
    assert cdr.ended_at == _at(1795296102149569)
    assert cdr.handovers == (_at(1795296098069289),)
    assert (cdr.billsec, cdr.hangup_cause, cdr.hung_up_by) == (12, "NORMAL_CLEARING", "switch")


def test_the_far_leg_of_a_bridge() -> None:
    """A leg that another one brought about is leg b, and no worker was offered it."""
    cdr = parse(cdr_forms.body("far-leg"))
    assert (cdr.leg, cdr.direction, cdr.offered, cdr.flow) == ("b", "outbound", False, None)
    assert (cdr.dialled, cdr.hung_up_by) == ("7000", "far end")


def test_a_call_that_was_never_answered() -> None:
    """The module's 0 for "never" is None; who refused it is known."""
    cdr = parse(cdr_forms.body("no-route"))
    assert (cdr.answered_at, cdr.billsec) == (None, 0)
    assert (cdr.hangup_cause, cdr.hung_up_by) == ("NO_ROUTE_DESTINATION", "switch")


@pytest.mark.parametrize("name", ONES_OWN)
def test_every_dress_holds_the_same_record(name: str) -> None:
    """Whatever encode, encode-values and disable-100-continue say, the same record is read."""
    plain = parse(cdr_forms.body(name))
    dresses = cdr_forms.dresses(cdr_forms.body(name))
    assert {dress: parse(body) for dress, (_type, body) in dresses.items()} == dict.fromkeys(
        dresses, plain
    )


def test_values_encoded_by_the_switch_itself() -> None:
    """A record sent with encode-values on, the module's default, reads as if without."""
    variables = decode(cdr_forms.body("encoded-values"))["variables"]
    assert variables["caller_id"] == '"Ali 100A Z" <02188776655>'
    assert variables["start_stamp"] == "2026-11-21 21:24:00"


def test_a_record_encoded_twice_names_the_parameters() -> None:
    """encode=true over encoded values cannot be read back: the switch does not escape escapes."""
    body = b"cdr=" + cdr_forms.url_encoded(cdr_forms.body("encoded-values"))
    with pytest.raises(InvalidCdr, match="encode-values=false"):
        parse(body)


def test_nothing_personal_is_kept() -> None:
    """Keys pressed, names, addresses, texts of applications and SDP do not get into `raw` (A9)."""
    raws = [parse(cdr_forms.body(name)).raw for name in cdr_forms.NAMES]
    secret = _changed(
        "transferred",
        callflows_digits="4711",
        callflows_context='{"mobile":"+989121112233"}',
        digits_dialed="99887766",
        sip_h_X_PIN="13579",
        sip_auth_password="hunter2",
        some_sec_note="Hidden Alley 9",
    )
    raws.append(parse(secret).raw)
    for raw in raws:
        for private in (
            "4711",
            "my_pin",
            "Hidden",
            "Rezaei",
            "Zahra",
            "\\u0639",
            "99887766",
            "13579",
            "hunter2",
            "+989121112233",
            "a=rtpmap",
            "file_string",
            "callflows_digits",
            "callflows_context",
        ):
            assert private not in raw


def test_what_operations_need_is_kept() -> None:
    """Causes, times, legs, quality of the media, which applications ran."""
    raw = json.loads(parse(cdr_forms.body("transferred")).raw)
    assert raw["variables"]["bridge_uuid"] == "18d5fca1-2045-4c76-be0d-c42bb2aed60b"
    assert raw["variables"]["hangup_cause_q850"] == "16"
    assert raw["callStats"]["audio"]["inbound"]["mos"] == 4.5
    assert [name for name, _ in raw["app_log"]][:3] == ["set", "socket", "answer"]
    assert [each["extension"] for each in raw["callflow"]] == ["payment", "bills"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "variables: is missing"),
        (b'{"variables":[]}', "variables: is missing"),
        (b'{"variables":{"uuid":"u"}}', "start_uepoch"),
        (b"{" + b'"a":{' * 100_000, "not JSON"),
        (b'{"a":' + b"9" * 5000 + b"}", "not JSON"),
        (b"x" * (LONGEST + 1), "longer"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"cdr=%7B", "not JSON"),
        (_changed("no-route", uuid="with space"), "variables.uuid"),
        (_changed("no-route", uuid="x" * 129), "variables.uuid"),
        (_changed("no-route", start_uepoch="soon"), "start_uepoch"),
        (_changed("no-route", end_uepoch="-1"), "end_uepoch"),
        (_changed("no-route", end_uepoch="99999999999999999"), "end_uepoch"),
    ],
)
def test_what_is_no_record_is_refused(body: bytes, reason: str) -> None:
    """Each refusal says what is wrong and repeats nothing of the content."""
    with pytest.raises(InvalidCdr, match=reason) as refused:
        parse(body)
    assert len(str(refused.value)) < 100


def test_a_record_without_core_uuid_or_direction_is_refused() -> None:
    """Without its identity a record could not be kept once."""
    for path, name in (("core-uuid", "core-uuid"), ("channel_data", "direction")):
        record = cdr_forms.document("no-route")
        del record[path]
        record["variables"].pop("direction", None)
        with pytest.raises(InvalidCdr, match=name):
            parse(cdr_forms.dumped(record))


def test_odd_content_is_taken() -> None:
    """Bytes that are not UTF-8, members twice, not-a-number, missing parts: the call is kept."""
    record = cdr_forms.document("no-route")
    for member in ("callStats", "app_log", "switchname"):
        record.pop(member, None)
    text = cdr_forms.dumped(record).replace(
        b'"dtmf_type"', b'"x":NaN,"x":"\xff\xfe\\ud800\\u0000","y"'
    )
    cdr = parse(text)
    assert (cdr.switch, cdr.offered) == ("", False)
    assert parse(_changed("no-route", billsec="-5")).billsec == 0
    assert parse(_changed("caller-hung-up", billsec=None)).billsec == 5
    assert parse(_changed("no-route", hangup_cause=None)).hangup_cause == "UNSPECIFIED"
    assert parse(_changed("no-route", sip_hangup_disposition=None)).hung_up_by is None


def test_the_same_record_has_the_same_digest_and_another_has_not() -> None:
    """Repetitions are told from conflicts by the whole content, dropped variables included."""
    one = parse(cdr_forms.body("not-ours"))
    assert parse(_changed("not-ours", my_pin="4712")).digest != one.digest
    assert parse(b" " + cdr_forms.body("not-ours") + b"\n").digest == one.digest


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(
    st.sampled_from(["callflow", "variables", "app_log", "channel_data", "callStats", "core-uuid"]),
    _JSON,
)
def test_any_shape_is_a_record_or_refused(member: str, value: Any) -> None:
    """Whatever a part of a record holds, it is read or refused as InvalidCdr; raw stays ASCII."""
    record = cdr_forms.document("no-route")
    record[member] = value
    body = json.dumps(record).encode()
    try:
        cdr = parse(body)
    except InvalidCdr:
        return
    assert isinstance(cdr, Cdr)
    assert cdr.raw.isascii()


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_read(body: bytes) -> None:
    """No bytes make it fail in another way."""
    for dressed in (body, b"cdr=" + body, base64.b64encode(body), b"{" + body):
        with pytest.raises(InvalidCdr):
            parse(dressed)
