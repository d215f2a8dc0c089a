"""Call records in the dresses that mod_json_cdr sends them in, byte for byte as it does."""

import base64
import json
from pathlib import Path

FOLDER = Path(__file__).parent / "data" / "cdrs"
NAMES = sorted(file.stem for file in FOLDER.glob("*.json"))

# switch_url_encode of FreeSWITCH 1.10: what it escapes, and that it leaves escapes alone.
_UNSAFE = frozenset(b'\r\n #%&+:;<=>?@[\\]^`{|}"')
_HEX = frozenset(b"0123456789ABCDEF")


def body(name):
    """The record of that name, as sent with encode=false and encode-values=false."""
    return (FOLDER / f"{name}.json").read_bytes()


def document(name):
    """The record of that name as an object, to be changed."""
    return json.loads(body(name))


def dumped(document):
    """An object as the module prints it."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def url_encoded(data):
    """As FreeSWITCH encodes for URLs: an escape that is there already is not escaped again."""
    out = bytearray()
    for place, byte in enumerate(data):
        escape = byte == 0x25 and len(data) - place > 2 and {*data[place + 1 : place + 3]} <= _HEX
        if escape or (0x20 <= byte <= 0x7E and byte not in _UNSAFE):
            out.append(byte)
        else:
            out += b"%%%02X" % byte
    return bytes(out)


def with_encoded_values(data):
    """As sent with encode-values=true: the variables percent-encoded."""
    record = json.loads(data)
    record["variables"] = {
        name: url_encoded(value.encode()).decode() for name, value in record["variables"].items()
    }
    return dumped(record)


def dresses(data):
    """Content type and body for each way that the module can send a record."""
    form = "application/x-www-form-urlencoded"
    wrapped = "application/x-www-form-base64-encoded"
    return {
        "plain": ("application/json", data),
        # disable-100-continue replaces the headers, and with them the content type.
        "plain, disable-100-continue": (form, data),
        "values": ("application/json", with_encoded_values(data)),
        "form": (form, b"cdr=" + url_encoded(data)),
        "base64": (wrapped, b"cdr=" + base64.b64encode(data)),
        "base64, values": (wrapped, b"cdr=" + base64.b64encode(with_encoded_values(data))),
        "spool of form": (form, url_encoded(data) + b"\n"),
        "spool of base64": (wrapped, base64.b64encode(data) + b"\n"),
    }
