"""A statement for programs: everything as JSON, its collections as CSV. Amounts are rials."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any, TextIO
from zoneinfo import ZoneInfo

from billing.premium.months import format_month
from billing.premium.statement import Content, Item

COLUMNS = (
    "provider",
    "period",
    "call",
    "service",
    "connected_at",
    "seconds",
    "charged",
    "collected_at",
    "kind",
    "collected",
    "share",
)


def write_csv(out: TextIO, content: Content, items: Iterable[Item], zone: ZoneInfo) -> None:
    """Write a row for each collection that a statement settles; the shares sum to its share."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    period = format_month(content.statement.period)
    for item in items:
        writer.writerow(
            [
                content.provider.code,
                period,
                item.call_id,
                item.service,
                _moment(item.connected_at, zone),
                item.seconds,
                item.charged,
                _moment(item.at, zone),
                item.kind,
                item.collected,
                item.share,
            ]
        )


def as_json(content: Content, items: Iterable[Item], zone: ZoneInfo) -> dict[str, Any]:
    """Return all that stands on a statement, as JSON takes it."""
    statement, contract = content.statement, content.contract
    return {
        "statement": statement.id,
        "provider": {"code": content.provider.code, "title": content.provider.title},
        "period": format_month(statement.period),
        "from": _moment(content.begin, zone),
        "until": _moment(content.end, zone),
        "contract": {
            "kind": contract.kind,
            "from": _moment(contract.valid_from, zone),
            "share_bp": contract.share_bp,
            "levies": [asdict(part) for part in contract.levies],
            "deductions": [asdict(part) for part in contract.deductions],
            "least_payout": contract.least_payout,
        },
        "gross": statement.gross,
        "not_collected": statement.not_collected,
        "held_back": statement.held_back,
        "collected": statement.collected,
        "share": statement.share,
        "carried_in": statement.carried_in,
        "deductions": [asdict(each) for each in statement.deductions],
        "withheld": statement.withheld,
        "carried_out": statement.carried_out,
        "payable": statement.payable,
        "status": statement.status,
        "invoice": statement.invoice,
        "settled_at": _moment(statement.settled_at, zone),
        "transfer": statement.transfer,
        "paid_at": statement.paid_at and _moment(statement.paid_at, zone),
        "services": [
            {
                "service": each.service.number,
                "names": dict(each.service.names),
                "calls": each.calls,
                "gross": each.gross,
                "collected": each.collected,
                "share": each.share,
            }
            for each in content.services
        ],
        "earlier": content.earlier,
        "corrections": [
            {
                "call": each.call_id,
                "service": each.service,
                "connected_at": _moment(each.connected_at, zone),
                "decided_at": _moment(each.decided_at, zone),
                "amount": each.amount,
            }
            for each in content.corrections
        ],
        "items": [
            {
                "call": each.call_id,
                "service": each.service,
                "connected_at": _moment(each.connected_at, zone),
                "seconds": each.seconds,
                "charged": each.charged,
                "collected_at": _moment(each.at, zone),
                "kind": each.kind,
                "collected": each.collected,
                "share": each.share,
            }
            for each in items
        ],
    }


def _moment(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).isoformat(timespec="seconds")
