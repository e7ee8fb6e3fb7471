"""Of the application's own database. Named apart from the earlier system's, which may be applied there."""
