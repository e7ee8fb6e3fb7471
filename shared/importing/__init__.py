"""Moving over from the earlier Django system: its people, roles, stages and notifications.

django_source.py   reads the old tables through a mapping that can be adjusted; never writes there
old_rows.py        what of an old row can be taken, and why not; which rows were one event
django_import.py   writes it, chunk by chunk; a second run adds what is missing and doubles nothing
parity.py          old against new, person by person
"""
