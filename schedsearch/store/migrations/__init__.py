"""Alembic environment: how a database gets from one revision of the tables to the next."""
