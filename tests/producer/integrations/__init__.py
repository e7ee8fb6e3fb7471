"""The adapters, with real applications of their kind."""
