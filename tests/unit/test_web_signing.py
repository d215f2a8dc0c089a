"""Signed requests: what a holder of a key signed just now passes, and nothing else."""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.signing import (
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    WINDOW_S,
    BadSignature,
    sign,
    signed_headers,
    verify,
)

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
STAMP = str(int(NOW.timestamp()))


def test_signature_is_hmac_sha256_of_time_and_body():
    """The signature can be made with any HMAC library: hex over `<seconds>.<body>`."""
    expected = hmac.new(b"key", b"1700000000." + b'{"a":1}', hashlib.sha256).hexdigest()
    assert sign("key", 1_700_000_000, b'{"a":1}') == expected


@given(st.binary(max_size=300), st.text(min_size=1, max_size=40))
def test_signed_headers_are_accepted(body, key):
    """Whatever the body and key, the signer's headers verify."""
    headers = signed_headers(key, body, NOW)
    verify([key], headers[TIMESTAMP_HEADER], headers[SIGNATURE_HEADER], body, NOW)


@given(st.binary(min_size=1, max_size=100), st.integers(0, 799))
def test_any_flipped_bit_is_refused(body, bit):
    """A change of a single bit of the body is a bad signature."""
    at = bit % (8 * len(body))
    changed = bytearray(body)
    changed[at // 8] ^= 1 << at % 8
    with pytest.raises(BadSignature, match="fits none"):
        verify(["key"], STAMP, sign("key", int(STAMP), body), bytes(changed), NOW)


def test_old_and_new_key_while_a_key_is_changed():
    """Each of several keys verifies; a key that was dropped does not."""
    for key in ("old", "new"):
        verify(["old", "new"], STAMP, sign(key, int(STAMP), b"x"), b"x", NOW)
    with pytest.raises(BadSignature):
        verify(["new"], STAMP, sign("old", int(STAMP), b"x"), b"x", NOW)


@pytest.mark.parametrize("apart", [-WINDOW_S - 1, WINDOW_S + 1])
def test_time_outside_the_window(apart):
    """A request that is too old, or from the future, is refused though signed."""
    then = NOW + timedelta(seconds=apart)
    headers = signed_headers("key", b"x", then)
    with pytest.raises(BadSignature, match="300 seconds"):
        verify(["key"], headers[TIMESTAMP_HEADER], headers[SIGNATURE_HEADER], b"x", NOW)


@pytest.mark.parametrize("apart", [-WINDOW_S, WINDOW_S])
def test_time_at_the_edge_of_the_window(apart):
    """Clocks may be five minutes apart."""
    headers = signed_headers("key", b"x", NOW + timedelta(seconds=apart))
    verify(["key"], headers[TIMESTAMP_HEADER], headers[SIGNATURE_HEADER], b"x", NOW)


@pytest.mark.parametrize(
    ("timestamp", "signature"),
    [
        (None, "00"), (STAMP, None), ("", ""), ("soon", "00"), ("1.5", "00"), ("-1", "00"),
        ("۱۷۰۰", "00"), ("9" * 400, "00"), (STAMP, "00"), (STAMP, "é" * 64), (STAMP, "\udcff"),
    ],
)  # fmt: skip
def test_malformed_headers(timestamp, signature):
    """Headers that are missing or nonsense are a bad signature, never another error."""
    with pytest.raises(BadSignature):
        verify(["key"], timestamp, signature, b"x", NOW)


def test_time_is_signed_too():
    """A recorded request cannot be given a new time."""
    later = str(int(STAMP) + 1)
    with pytest.raises(BadSignature):
        verify(["key"], later, sign("key", int(STAMP), b"x"), b"x", NOW)
