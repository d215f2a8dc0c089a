"""Logs hold no telephone numbers, addresses or secrets, whoever writes them."""

from __future__ import annotations

import io
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callflows import logs


@pytest.fixture
def written():
    """A logger with the filter and the JSON formatter, and what it wrote."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(logs.MaskFilter())
    handler.setFormatter(logs.JsonFormatter())
    logger = logging.getLogger("test.masking")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel("DEBUG")
    yield logger, stream
    logger.handlers.clear()


@pytest.mark.parametrize(
    "secret",
    [
        "02188776655",
        "+989121234567",
        "0912 123 45 67",
        "(021) 8877-6655",
        "۰۹۱۲۱۲۳۴۵۶۷",
        "sara@example.com",
        "9174639504124",
    ],
)
def test_personal_data_is_masked(secret):
    """Numbers in any usual spelling and script, e-mail addresses and bill IDs are cut."""
    masked = logs.mask(f"call of {secret} failed")
    assert secret not in masked
    assert masked.startswith("call of ")
    assert masked.endswith(" failed")


@pytest.mark.parametrize(
    "text",
    [
        "pin=4711",
        'password: "a b"',
        "Authorization: Bearer abc.def",
        "token='xyz'",
        "{'postal_code': '1411713117'}",
        "address=Azadi",
    ],
)
def test_secrets_are_masked(text):
    """What stands after a secret's name is never shown."""
    masked = logs.mask(text)
    for secret in ("4711", "a b", "abc.def", "xyz", "1411713117", "Azadi"):
        assert secret not in masked


def test_url_password_and_link_token_are_masked():
    """A database password in a URL and the token of a link do not get into logs."""
    masked = logs.mask("connect postgresql://app:s3cret@db/x; GET /e/AbC-123_x")
    assert "s3cret" not in masked
    assert "AbC-123_x" not in masked
    assert "postgresql://app:" in masked


@pytest.mark.parametrize(
    "text",
    ["2026-11-21 19:40:25", "cf43ed9d-f95a-4daa-93d2-14de65edab91", "listening on 127.0.0.1:8084"],
)
def test_times_and_ids_stay(text):
    """Dates, call ids and addresses of our own are needed for debugging and stay readable."""
    assert logs.mask(text) == text


def test_arguments_and_tracebacks_are_masked(written):
    """The filter sees the formatted message and the traceback, not only the template."""
    logger, stream = written
    logger.info("caller %s", "02188776655")
    try:
        raise ValueError("no line +989121234567")
    except ValueError:
        logger.exception("failed")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert "02188776655" not in first["message"]
    assert "9121234567" not in second["error"]
    assert "ValueError" in second["error"]


def test_call_id_stands_in_the_line(written):
    """Every line of a call carries its id, so that one call's story can be picked out."""
    logger, stream = written
    token = logs.call_id.set("cf43ed9d")
    try:
        logger.info("hello")
    finally:
        logs.call_id.reset(token)
    assert json.loads(stream.getvalue())["call"] == "cf43ed9d"


def test_broken_arguments_do_not_lose_the_line(written):
    """A log call with wrong arguments still leaves a line and does not end the call."""
    logger, stream = written
    logger.info("%d calls", "many")
    assert "many" in json.loads(stream.getvalue())["message"]


@given(st.from_regex(r"(\+98|0)9\d{9}", fullmatch=True), st.text(max_size=20))
def test_any_mobile_number_is_masked(number, noise):
    """No mobile number that stands as a word of its own gets through, whatever is around it."""
    assert number not in logs.mask(f"{noise} {number} {noise}")
