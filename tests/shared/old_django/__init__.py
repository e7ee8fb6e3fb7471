"""The earlier system as the document describes it: a real Django project, run in a process of its own."""
