"""A small real Django application: users, stages and their documents, on SQLite and PostgreSQL."""
