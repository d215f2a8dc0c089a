"""The calls that this process converses with, by switch: what reconciliation compares."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from esl_worker.session import Session

log = logging.getLogger(__name__)


class LiveCalls:
    """Sessions by call id, for each running switch (its Core-UUID, which a restart changes)."""

    def __init__(self) -> None:
        self._switches: dict[str, dict[str, Session]] = {}

    def __len__(self) -> int:
        return sum(len(calls) for calls in self._switches.values())

    @contextmanager
    def during(self, core_uuid: str, session: Session) -> Iterator[None]:
        """Count a connected session among the live ones for the length of its conversation."""
        uuid = session.uuid
        self._switches.setdefault(core_uuid, {})[uuid] = session
        try:
            yield
        finally:
            calls = self._switches.get(core_uuid)
            if calls is not None and calls.get(uuid) is session:
                del calls[uuid]
                if not calls:
                    del self._switches[core_uuid]

    def of(self, core_uuid: str) -> list[str]:
        """The call ids on one switch."""
        return list(self._switches.get(core_uuid, ()))

    def end(self, core_uuid: str, uuid: str) -> bool:
        """End a conversation whose call is gone: it gets ConnectionLost, which is a CallerGone.

        Returns whether there was one.
        """
        session = self._switches.get(core_uuid, {}).get(uuid)
        if session is None or session.ended:
            return False
        log.warning("call %s: the switch has no such call any more; its conversation ends", uuid)
        session.close()
        return True
