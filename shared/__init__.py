"""The contracts that producer, workers and gateway meet in: tables, task names, topics, frames, settings.

Imports none of the other packages; nothing here connects to a server when it is imported.
"""
