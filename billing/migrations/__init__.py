"""How the schema came about, step by step (Alembic); run by `Database.migrate`."""
