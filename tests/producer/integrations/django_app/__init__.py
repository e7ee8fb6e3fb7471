"""A small real Django application: employees, stages and their documents, on SQLite."""
