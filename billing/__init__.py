"""The truth: lines, bills, payments, ledger, outbox, journal (SQLAlchemy Core)."""
