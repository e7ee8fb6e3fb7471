"""What the API says of itself: OpenAPI 3.1 out of the code, and a page to read it.

Every door has a `Door` in `DOORS`, in a file per resource like the doors themselves: what it takes (the
tables its bodies are checked against), what it answers (a model), with an example of each. A test holds
that no rule of the URL map is missing, and that real answers are what is written here.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.openapi.door import Door
from gateway.openapi.inbox import DOORS as INBOX
from gateway.openapi.operations import DOORS as OPERATIONS
from gateway.openapi.people import DOORS as PEOPLE
from gateway.openapi.sending import DOORS as SENDING
from gateway.openapi.statistics import DOORS as STATISTICS
from gateway.openapi.templates import DOORS as TEMPLATES

DOORS: Mapping[str, Door] = {
    **INBOX,
    **SENDING,
    **PEOPLE,
    **TEMPLATES,
    **STATISTICS,
    **OPERATIONS,
}
