"""`stagebloom run`: everything that the service consists of, in one terminal.

run.py        the sequence: servers, tables, programs, one line with the address, and the way back
loop.py       what runs, what it says, what died; no polling while all is well
program.py    one program and how long it rests before it is started again
guardian.py   ends what is left when the supervisor itself is killed
procfile.py   output.py   readiness.py
"""

from shared.supervisor.run import run

__all__ = ["run"]
