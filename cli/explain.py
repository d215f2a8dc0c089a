"""`callflows explain`: why a premium call cost what it cost."""

from __future__ import annotations

import json
import sys

import click

from billing.premium.explain import Explanation, explain
from billing.premium.tariffs import Tariff
from callflows.config import LANGUAGES
from callflows.premium.explaining import Explaining
from cli.main import settings_of
from cli.parts import Parts


@click.command()
@click.argument("call_id", metavar="CALL")
@click.option(
    "--language", type=click.Choice(LANGUAGES), help="Of the words; default: the call's own."
)
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
def command(call_id: str, language: str | None, as_json: bool) -> None:
    """Tell what was heard and pressed in a premium CALL, and why it cost what it cost.

    What was heard is quoted in the language of the call. The acceptance is checked against the
    line's chain of acceptances; if that does not hold, it is said, and the exit code is 1.

    \b
    Examples:
      callflows explain cf43ed9d-f95a-4daa-93d2-14de65edab91
      callflows explain cf43ed9d-f95a-4daa-93d2-14de65edab91 --language en
    """
    parts = Parts(settings_of())
    zone = parts.settings.zone
    told = parts.database.query(lambda conn: explain(conn, call_id, zone))
    if told is None:
        raise click.ClickException(
            f"call {call_id} has accepted no premium service, so nothing was charged;"
            " `callflows usage LINE` and `callflows journal` list calls"
        )
    if as_json:
        click.echo(json.dumps(_facts(told), ensure_ascii=False, indent=2))
    else:
        words = Explaining(parts.catalogue, language or told.consent.language, zone)
        for sentence in words.sentences(told):
            click.echo(sentence)
    sys.exit(1 if told.broken else 0)


def _facts(told: Explanation) -> dict[str, object]:
    consent, call, charge = told.consent, told.call, told.charge
    return {
        "call": consent.call_id,
        "line": told.line,
        "service": told.service.number,
        "consent": {
            "place": consent.place,
            "version": consent.version,
            "language": consent.language,
            "heard_at": consent.heard_at.isoformat(),
            "heard": consent.heard,
            "digit": consent.digit,
            "pressed_at": consent.pressed_at.isoformat(),
            "tariffs": list(map(Tariff.as_dict, consent.tariffs)),
            "hash": consent.hash,
            "previous": consent.previous,
        },
        "status": call.status if call else None,
        "reason": call.reason if call else None,
        "connected_at": call.connected_at.isoformat() if call and call.connected_at else None,
        "ended_at": call.ended_at.isoformat() if call and call.ended_at else None,
        "seconds": call.seconds if call else None,
        "recorded_seconds": told.recorded_s,
        "amount": call.amount if call else None,
        "segments": [each.as_dict() for each in told.rated.segments] if told.rated else [],
        "approval": told.approval.id if told.approval else None,
        "credit": (
            {
                "month": told.credit.month,
                "ceiling": told.credit.ceiling,
                "used": told.credit.used,
                "held": told.credit.held,
            }
            if told.credit
            else None
        ),
        "charge": (
            {"status": charge.status, "collected": charge.collected, "period": charge.period}
            if charge
            else None
        ),
        "broken": [
            {"place": each.place, "call": each.call_id, "reason": each.reason}
            for each in told.broken
        ],
    }
