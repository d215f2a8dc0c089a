"""Premium-rate lines: tariffs, consent, owner, credit, charges, settlement (domain D1-D15)."""
