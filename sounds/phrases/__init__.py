"""The phrase catalogue's data: one YAML file per area (see sounds/catalogue.py for its format)."""
