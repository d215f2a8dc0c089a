"""The figures of docs/performance.md: `python -m bench` measures them, `make bench` with the peers.

Nothing here is imported by the product.
"""
