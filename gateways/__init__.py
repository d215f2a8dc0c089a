"""The outside world behind small ports: SMS, e-mail, payment reports."""
