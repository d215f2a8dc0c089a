"""What billing raises. Each error says what is wrong and whose fault it is."""

from __future__ import annotations

from typing import Literal


class BillingError(Exception):
    """Base of every error of this package."""


class Unavailable(BillingError):
    """The database was locked or away until the deadline: nothing was written; try again later."""


class Limited(BillingError):
    """A message limit is used up; nothing was written.

    ``scope`` names the limit: ``caller`` (who asks), ``destination`` (the mobile that would get
    the message) and ``day`` (all messages together) are used up for this day, ``hour`` (the mobile
    again) for this hour only.
    """

    def __init__(self, scope: Literal["caller", "destination", "hour", "day"]) -> None:
        """Name the limit that is used up."""
        super().__init__(f"the {scope} limit for messages is used up")
        self.scope = scope


class BillPaid(BillingError):
    """The bill has been paid: there is nothing to ask for, and nothing was written."""


class KeyConflict(BillingError):
    """A key was used again for something else: the caller's bug, and nothing was written."""


class PaymentConflict(KeyConflict):
    """A payment reference was reported again with other content."""


class InvalidNumber(BillingError, ValueError):
    """A text is not a telephone number of the kind that is asked for."""


class InvalidIds(BillingError, ValueError):
    """A bill ID or payment ID does not hold: the text names the digit and what it should be."""


class InvalidRow(BillingError, ValueError):
    """A row of an imported file cannot be loaded; the text gives the reason."""


class InvalidFile(BillingError, ValueError):
    """An imported file cannot be read to its end, or is without the needed columns."""


class InvalidAddress(BillingError, ValueError):
    """A text does not hold exactly one usable e-mail address."""


class InvalidPayment(BillingError, ValueError):
    """A payment report is malformed (not: unknown bill, which is parked)."""


class InvalidCdr(BillingError, ValueError):
    """A text is no call record of FreeSWITCH's; the text says what is missing or wrong."""


class CdrConflict(KeyConflict):
    """A call record came again with other content; the first one stays."""
