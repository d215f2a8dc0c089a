"""The picture of a printed bill that method 5 sends by e-mail (A8)."""

from jobs.bill_image.printer import BillImage, ForkedAfterRendering, render
from jobs.bill_image.view import BillView

__all__ = ["BillImage", "BillView", "ForkedAfterRendering", "render"]
