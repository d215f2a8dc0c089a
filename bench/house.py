"""What the worker under test needs around it: lines, bills and a Redis to nudge."""

from __future__ import annotations

import io
from pathlib import Path

from billing.database import Database
from billing.importing import import_bills, import_lines
from callflows import config

CONVERSATION = ["1", "9", "2", "{mobile}", "1", "3"]
"""Six questions: which of two bills; the menu: hear it again; the menu: bill by SMS; the mobile
number; is it right; anything else: no. Then goodbye. Heard besides: welcome, the bills, twice the
whole summary, the number read back, the promise."""


def build(folder: Path, subscribers: int) -> None:
    """Fill `folder` with a database: fixed lines in four languages, two open bills each."""
    database = Database(f"sqlite:///{folder}/calls.db")
    database.migrate()
    lines = ["number,kind,first_name,last_name,language,mobile,email,address,postal_code"]
    bills = ["number,period,year,amount,bill_id,payment_id,due_date"]
    for index in range(subscribers):
        number = f"02188{index:06d}"
        language = ("fa", "ar", "ru", "en")[index % 4]
        lines.append(f"{number},fixed,First{index},Last{index},{language},,,,")
        bills.append(f"{number},3,1405,{120_000 + 7_000 * index},,,2026-10-01")
        bills.append(f"{number},4,1405,{95_000 + 13_000 * index},,,2059-12-05")
    for report in (
        import_lines(database, io.StringIO("\n".join(lines))),
        import_bills(database, io.StringIO("\n".join(bills))),
    ):
        if report.rejected:
            raise RuntimeError(f"sample data are rejected: {report.rejected[:3]}")
    database.close()


MANY = 1_000_000


def open_settings(folder: Path, redis_url: str, **others: object) -> config.Settings:
    """The configuration of a worker under test: the limits on SMS count, and are out of reach."""
    return config.load(
        state_dir=folder,
        database_url=f"sqlite:///{folder}/calls.db",
        redis_url=redis_url,
        services={"2000": "bill"},
        sms_per_caller_day=MANY,
        sms_per_destination_day=MANY,
        sms_per_destination_hour=MANY,
        sms_per_day=MANY,
        **others,
    )
