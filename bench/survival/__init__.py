"""Workers are killed -9 in the middle of calls, again and again: `python -m bench.survival`.

Each run is a call of tests/calls/scenarios.py through real worker processes with a database of its
own, on the embedded switch with a compressed clock. At moments that the run's seed chooses, the
process that carries the call is killed. Afterwards everything is checked: see `verdict`.
"""
