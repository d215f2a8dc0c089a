"""Providers' statements as files: PDF for the eye, CSV and JSON for programs (D13)."""

from jobs.statement.printer import render
from jobs.statement.tables import as_json, write_csv

__all__ = ["as_json", "render", "write_csv"]
