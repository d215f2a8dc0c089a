"""Sending SMS: the port, a sandbox, and an order of gateways to fall back on.

Real operators are reached through `gateways.http_sms.HttpSms`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from gateways.errors import Temporary
from gateways.keys import message_token
from gateways.sandbox import SandboxFolder, utc_now
from gateways.sms_parts import segment


@dataclass(frozen=True, slots=True)
class SmsReceipt:
    """`reference`: the gateway's own name for the message; `parts`: SMS parts it took."""

    reference: str
    parts: int


class SmsGateway(Protocol):
    """Whatever can carry an SMS."""

    def send(self, to: str, text: str, key: str) -> SmsReceipt:
        """Hand over a text for `to` (E.164). The same key again must not be a second message.

        Raises `Temporary` (try again with the same key) or `Permanent`.
        """
        ...


class SandboxSms:
    """Writes each SMS into a folder: a text file to read, and a line in messages.jsonl."""

    def __init__(self, folder: Path, now: Callable[[], datetime] = utc_now) -> None:
        self._folder = SandboxFolder(folder, now)

    def send(self, to: str, text: str, key: str) -> SmsReceipt:
        token = message_token(key)
        segments = segment(text)
        count = len(segments.parts)
        receipt = SmsReceipt(f"sandbox-{token}", count)
        page = f"To: {to}\nParts: {count} ({segments.encoding}, {segments.units} units)\n\n{text}\n"
        record = {"to": to, "text": text, "parts": count, "encoding": segments.encoding}
        record["reference"] = receipt.reference
        try:
            self._folder.put(f"sms-{token}.txt", page.encode("utf-8", "replace"), record)
        except OSError as fault:
            raise Temporary(f"sandbox folder: {fault.strerror}") from None
        return receipt


class FallbackSms:
    """Gateways in order of preference: the next one is tried when one surely did not send.

    A permanent refusal is about the message, not about the gateway, and ends the search.
    A message that may have been taken (its answer was lost) does not go on to the next gateway,
    which could not recognise it: it is tried again later. That retry begins at the first gateway
    again; only if the lost answer was that of a later gateway, and the first has recovered in the
    meantime, does the subscriber get the message twice.
    """

    def __init__(self, gateways: Sequence[SmsGateway]) -> None:
        if not gateways:
            raise ValueError("at least one SMS gateway is needed")
        self._gateways = tuple(gateways)

    def send(self, to: str, text: str, key: str) -> SmsReceipt:
        faults: list[Temporary] = []
        for gateway in self._gateways:
            try:
                return gateway.send(to, text, key)
            except Temporary as fault:
                if fault.maybe_sent:
                    raise
                faults.append(fault)
        waits = [fault.retry_after_s for fault in faults if fault.retry_after_s is not None]
        raise Temporary(
            "; ".join(fault.reason for fault in faults),
            retry_after_s=min(waits) if waits else None,
        )
