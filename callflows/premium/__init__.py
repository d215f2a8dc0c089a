"""Conversations of premium-rate lines: the call itself, its owner, complaints about it."""
