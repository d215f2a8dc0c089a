"""Outbox relay, RQ queues and their consumers."""
