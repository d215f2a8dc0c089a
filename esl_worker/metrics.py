"""What a process with calls measures (see docs/metrics.md).

Recording costs about a microsecond and never blocks, so it may be done at every step of a call.
Labels hold names from our own code only - flows, states, outcomes - so that their number is
bounded whatever callers and switches say.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from billing.retry_rules import RESULTS, Result
from callflows.call import CallerGone
from esl_worker.session import ConnectionLost

OUTCOMES = (
    "completed",
    "transferred",
    "caller_gone",
    "trouble",
    "abandoned",
    "unknown_number",
    "refused",
)
"""How a call ends for a worker: as its journal says, and three ends without a journal: the caller
was gone before a word, no flow serves the number, the worker was full."""

ERRORS = ("connect", "connection_lost", "protocol", "reply_timeout", "handler")
"""What goes wrong on the event socket: no call came on a connection, a call's connection broke,
the switch spoke nonsense, it did not answer, our own handler failed."""

SWITCH_ERRORS = ("unreachable", "refused", "lost", "restarted")
"""What goes wrong on a control connection: the switch could not be connected to, it refused us
(password, ACL), an established connection ended, another switch process answered after that."""

_STEP_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0)
_SETUP_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_STATE_BUCKETS = (0.1, 1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)


class WorkerMetrics:
    """Calls and their steps. Without a registry everything is recorded and shown to nobody."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self._active = Gauge("callflows_calls_active", "Calls running now.", registry=registry)
        self._limit = Gauge(
            "callflows_calls_limit", "Calls that may run at once (max_calls).", registry=registry
        )
        ended = Counter(
            "callflows_calls_total", "Calls that ended.", ("outcome",), registry=registry
        )
        self._ended = {outcome: ended.labels(outcome) for outcome in OUTCOMES}
        errors = Counter(
            "callflows_esl_errors_total",
            "Failures on the event socket.",
            ("kind",),
            registry=registry,
        )
        self._errors = {kind: errors.labels(kind) for kind in ERRORS}
        self.setup = Histogram(
            "callflows_call_setup_seconds",
            "From the switch's connection to the conversation's first state.",
            buckets=_SETUP_BUCKETS,
            registry=registry,
        ).observe
        """Record the seconds of a set-up."""
        self.step = Histogram(
            "callflows_step_latency_seconds",
            "From the switch's answer (digits, end of a prompt) to our next commands.",
            buckets=_STEP_BUCKETS,
            registry=registry,
        ).observe
        """Record the seconds that a step took us; called at each."""
        self._states = Histogram(
            "callflows_state_seconds",
            "Time that calls spent in a state, prompts and waiting included.",
            ("flow", "state"),
            buckets=_STATE_BUCKETS,
            registry=registry,
        )
        self._state: dict[tuple[str, str], Callable[[float], None]] = {}

    def watch(self, active: Callable[[], int], limit: int) -> None:
        """Ask `active` for the number of running calls, at each scrape; `limit` is the most."""
        self._active.set_function(active)
        self._limit.set(limit)

    def ended(self, outcome: str, count: int = 1) -> None:
        """Calls ended; `outcome` is one of OUTCOMES."""
        self._ended[outcome].inc(count)

    def error(self, kind: str) -> None:
        """Something went wrong on the event socket; `kind` is one of ERRORS."""
        self._errors[kind].inc()

    def broken(self, end: CallerGone) -> None:
        """A call's connection ended while it talked; a plain hangup is no error."""
        if isinstance(end, ConnectionLost):
            nonsense = end.reason.startswith("protocol error")
            self.error("protocol" if nonsense else "connection_lost")

    def state(self, flow: str, state: str, seconds: float) -> None:
        """A call left a state after so long."""
        observe = self._state.get((flow, state))
        if observe is None:
            observe = self._state[flow, state] = self._states.labels(flow, state).observe
        observe(seconds)


class SwitchMetrics:
    """The control connections of a process; switches are named as the configuration does."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self._connected = Gauge(
            "callflows_switch_connected",
            "Whether the control connection to a switch stands.",
            ("switch",),
            registry=registry,
        )
        self._errors = Counter(
            "callflows_switch_errors_total",
            "Failures of the control connection to a switch.",
            ("switch", "kind"),
            registry=registry,
        )

    def watch(self, switch: str, connected: Callable[[], bool]) -> None:
        """Ask `connected` at each scrape. Every kind of error is there from now on, as none."""
        self._connected.labels(switch).set_function(connected)
        for kind in SWITCH_ERRORS:
            self._errors.labels(switch, kind)

    def error(self, switch: str, kind: str) -> None:
        """Something went wrong; `kind` is one of SWITCH_ERRORS."""
        self._errors.labels(switch, kind).inc()


class CampaignMetrics:
    """The dialer's calls; of all campaigns together, since their names are not bounded."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self._active = Gauge(
            "callflows_campaign_calls_active",
            "Campaign calls that ring or talk now.",
            registry=registry,
        )
        self._pending = Gauge(
            "callflows_campaign_numbers_pending",
            "Numbers of running campaigns that are still to be called.",
            registry=registry,
        )
        calls = Counter(
            "callflows_campaign_calls_total",
            "Campaign calls that ended, by what became of them.",
            ("result",),
            registry=registry,
        )
        self._calls = {result: calls.labels(result) for result in RESULTS}

    def watch(self, active: Callable[[], int], pending: Callable[[], float]) -> None:
        """Ask these two for the numbers, at each scrape; they must be quick and not raise."""
        self._active.set_function(active)
        self._pending.set_function(pending)

    def ended(self, result: Result) -> None:
        """A campaign call ended."""
        self._calls[result].inc()
