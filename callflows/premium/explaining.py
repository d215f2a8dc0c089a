"""Why a premium call cost what it cost, in plain words for the line's owner (D11, D12).

The words stand in sounds/phrases/explain.yaml. What was heard is quoted in the language in which it
was heard: it is evidence.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, time
from zoneinfo import ZoneInfo

from billing.premium.charge_check import WAIVED
from billing.premium.explain import Explanation, PostedCharge
from billing.premium.rating import Segment, version_at
from billing.premium.standing import Standing
from callflows.journal import phrase_of
from sounds import Catalogue, Phrase
from sounds.errors import PhraseError

INDENT = "  "


class Explaining:
    """Makes the sentences, in one language; moments are told by the clock of ``zone``."""

    def __init__(self, catalogue: Catalogue, language: str, zone: ZoneInfo) -> None:
        self._catalogue = catalogue
        self._language = language
        self._zone = zone

    def sentences(self, explanation: Explanation) -> list[str]:
        """Return the explanation, a sentence a line."""
        return list(self._told(explanation))

    def _told(self, told: Explanation) -> Iterator[str]:
        consent, call = told.consent, told.call
        yield self._say(
            "explain_call",
            day=consent.heard_at.astimezone(self._zone).date(),
            at=self._clock(consent.heard_at),
            line=told.line,
            service=told.service.name(self._language),
            number=told.service.number,
        )
        yield self._say("explain_heard", at=self._clock(consent.heard_at))
        for key, language, slots in consent.heard:
            yield INDENT + self._quoted(key, language, slots)
        yield self._say(
            "explain_pressed",
            named=consent.digit,
            pressed=consent.digit,
            at=self._clock(consent.pressed_at),
        )
        if told.approval is not None:
            yield self._say(
                "explain_approval",
                approval=told.approval.id,
                day=told.approval.granted_at.astimezone(self._zone).date(),
                ceiling=told.approval.ceiling,
            )
        if call is None:
            yield self._say("explain_not_begun")
        else:
            yield from self._cost(told, call)
        yield from self._evidence(told)

    def _cost(self, told: Explanation, call: Standing) -> Iterator[str]:
        connected, ended = call.connected_at, call.ended_at
        if connected is not None and ended is None:
            yield self._say("explain_running", at=self._clock(connected), amount=call.held)
        elif connected is not None and ended is not None:
            yield self._say(
                "explain_connected",
                begin=self._clock(connected),
                end=self._clock(ended),
                seconds=call.seconds or 0,
            )
            if told.rated is not None and call.status != "free":
                yield from self._segments(told, connected, told.rated.segments)
        else:
            yield self._say("explain_not_begun")
        if call.status == "free" and connected is not None:
            waived = (call.reason or "").startswith(WAIVED)
            yield self._say("explain_waived" if waived else "explain_free")
        elif call.status == "parked":
            yield self._say("explain_parked", amount=call.amount or 0, seconds=told.recorded_s or 0)
        elif call.status == "charged":
            if told.recorded_s is not None:
                yield self._say("explain_recorded", seconds=told.recorded_s)
            yield self._posted(told.charge)
        if told.credit is not None:
            yield self._say(
                "explain_credit",
                month=told.credit.month % 100,
                year=told.credit.month // 100,
                ceiling=told.credit.ceiling,
                used=told.credit.used,
            )

    def _segments(
        self, told: Explanation, connected: datetime, segments: tuple[Segment, ...]
    ) -> Iterator[str]:
        first = version_at(told.consent.tariffs, connected)
        if first.model == "per_minute":
            yield self._say(
                "explain_counted",
                step=first.increment_s,
                least=max(first.minimum_s, first.increment_s),
            )
        for each in segments:
            if first.model == "per_call":
                yield INDENT + self._say("explain_once", amount=each.amount)
            else:
                yield INDENT + self._say(
                    "explain_minutes",
                    at=self._clock(each.begin),
                    seconds=each.seconds,
                    price=each.price,
                    amount=each.amount,
                )
        yield self._say("explain_total", amount=sum(each.amount for each in segments))

    def _posted(self, charge: PostedCharge | None) -> str:
        if charge is None:
            return self._say("explain_not_posted")
        if charge.status != "posted":
            return self._say(f"explain_{charge.status}")
        if charge.period is not None:
            return self._say("explain_billed", period=charge.period, year=charge.year)
        day = charge.posted_at.astimezone(self._zone).date()
        return self._say("explain_posted", day=day)

    def _evidence(self, told: Explanation) -> Iterator[str]:
        if told.broken:
            yield self._say("explain_broken", place=told.broken[0].place)
        else:
            yield self._say("explain_sealed", place=told.consent.place)

    def _quoted(self, key: str, language: str, slots: dict[str, object]) -> str:
        try:
            return self._catalogue.text(phrase_of(key, language, slots), language)
        except PhraseError:
            # A phrase of an earlier release.
            return f"[{key}] {slots}"

    def _say(self, key: str, **slots: object) -> str:
        return self._catalogue.text(Phrase(key, **slots), self._language)

    def _clock(self, moment: datetime) -> time:
        return moment.astimezone(self._zone).time().replace(second=0, microsecond=0)
