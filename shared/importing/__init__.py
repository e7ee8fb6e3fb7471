"""Moving over from the earlier Django system: its people, roles, stages, notifications and templates.

mapping.py             which table and column holds what; each an option of the command
opening.py             opens the old database, for reading only, whatever its encoding
queries.py             finds its tables and columns, and says what is asked of them
django_source.py       reads them, chunk by chunk
rules.py, values.py    what is taken, and the remarks on the rest; what a raw value says
old_people.py          a person as they are here
old_notifications.py   a notification, and which of them were one event
old_events.py          an event's type and data
old_templates.py       a template, in the syntax of ours
store.py               writes a chunk; what is here already stays
django_import.py       brings all of it over; a second run adds what is missing and doubles nothing
parity.py              old against new, person by person
"""
