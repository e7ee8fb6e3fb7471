"""`manage.py check` says so when code that imports `notification_service` would get another package."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.core.checks import CheckMessage, Warning

NAME = "notification_service"
OURS = Path(__file__).resolve().parents[3] / f"{NAME}.py"


def check_package(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """A folder of that name in the project comes before ours: usually the earlier system's own."""
    found = find_spec(NAME)
    if found is not None and found.origin and Path(found.origin).resolve() == OURS:
        return []
    where = "nowhere" if found is None else found.origin or str(list(found.submodule_search_locations or ()))
    return [
        Warning(
            f"`import {NAME}` leads to {where}, not to StageBloom's {OURS}.",
            hint="Move the earlier application's folder away, and take its URLs and consumers out.",
            id=f"{NAME}.W001",
        )
    ]
