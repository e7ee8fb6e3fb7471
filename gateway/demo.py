"""Who the demonstration page shows: one person of each role, each with a token for an hour.

Serves `GET /api/demo/` only to a browser on this very machine, on a page of ours: the tokens it hands
out are real. Never served when the settings say no, through a proxy, under a foreign host name (DNS
rebinding) or to another site's page.
"""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Request, request
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, BIGINT
from sqlalchemy.orm import Session

from gateway.auth import current_authenticator
from gateway.transactions import in_transaction
from shared.errors import NotFound, Unavailable
from shared.models import ROLE
from shared.settings import Settings
from shared.tokens import OWN_ALGORITHM

SHOWN_ROLES = ("stagiaire", "tuteur", "rh", "admin")
SENDER_ROLE = "admin"
STAGE = "stage_"
TOKEN_LIFETIME_SECONDS = 3600
OTHER_STAGES = 3
"""Beside the shown people's own stages, so that one also sees who gets nothing."""
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")

FIRST_OF_ROLE = text("""
    SELECT u.id, u.external_id, u.name
    FROM memberships m JOIN users u ON u.id = m.user_id
    WHERE m.group_name = :role AND u.is_active
    ORDER BY m.user_id LIMIT 1
""")
# The person of a role who shares a group with someone already shown; the stage then has two to see.
FIRST_SHARING_STAGE = text("""
    SELECT u.id, u.external_id, u.name
    FROM memberships mine
    JOIN memberships theirs ON theirs.group_name = mine.group_name AND theirs.user_id <> mine.user_id
    JOIN memberships role ON role.user_id = theirs.user_id AND role.group_name = :role
    JOIN users u ON u.id = theirs.user_id AND u.is_active
    WHERE mine.user_id = :person_id AND starts_with(mine.group_name, 'stage_')
    ORDER BY u.id LIMIT 1
""")
ROLES = text("SELECT name FROM groups WHERE starts_with(name, 'role_') ORDER BY name")
STAGES_OF_SHOWN = text("""
    SELECT m.group_name AS name, array_agg(u.name ORDER BY u.id) AS people
    FROM memberships m JOIN users u ON u.id = m.user_id
    WHERE m.user_id = ANY (:ids) AND starts_with(m.group_name, 'stage_')
    GROUP BY m.group_name ORDER BY count(*) DESC, m.group_name LIMIT 20
""").bindparams(bindparam("ids", type_=ARRAY(BIGINT)))
STAGES_OF_OTHERS = text("""
    SELECT g.name FROM groups g
    WHERE starts_with(g.name, 'stage_')
      AND NOT EXISTS (SELECT FROM memberships m WHERE m.group_name = g.name AND m.user_id = ANY (:ids))
    ORDER BY g.name LIMIT :wanted
""").bindparams(bindparam("ids", type_=ARRAY(BIGINT)))

blueprint = Blueprint("demo", __name__)


@blueprint.get("/api/demo/")
def show_company() -> tuple[dict[str, Any], dict[str, str]]:
    """The people, roles and stages that the demonstration page offers."""
    authenticator = current_authenticator()
    reason = refusal(authenticator.settings, request)
    if reason:
        raise NotFound(f"the demonstration is not available: {reason}", reason=reason)
    company = in_transaction(authenticator.settings, load_company)
    for person in company["people"]:
        person["token"] = authenticator.issue_token(person["id"], TOKEN_LIFETIME_SECONDS)
        if person["role"] == SENDER_ROLE:
            company["sender_token"] = person["token"]
    return company, {"Cache-Control": "no-store"}


def refusal(settings: Settings, request: Request) -> str | None:
    """Why this request gets no demonstration; None when it does."""
    if not settings.is_demo:
        return "it is switched off"
    if settings.jwt_algorithm != OWN_ALGORITHM:
        return "tokens come from the identity provider"
    if not _is_loopback(request.remote_addr) or any(name in request.headers for name in PROXY_HEADERS):
        return "it answers browsers on the same machine only"
    if urlsplit(f"//{request.host}").hostname not in LOCAL_HOSTS:
        return "open it as localhost"
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return "it was asked for by another site"
    return None


def _is_loopback(address: str | None) -> bool:
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


def load_company(session: Session) -> dict[str, Any]:
    """The first person of each role, the stages, the roles.

    Raises: Unavailable when the demonstration company has not been put in yet.
    """
    rows: dict[str, Any] = {}
    for role in SHOWN_ROLES:
        row = None
        if role == "tuteur":
            sharing = {"role": ROLE + role, "person_id": rows["stagiaire"].id}
            row = session.execute(FIRST_SHARING_STAGE, sharing).first()
        row = row or session.execute(FIRST_OF_ROLE, {"role": ROLE + role}).first()
        if row is None:
            raise Unavailable(
                f"nobody has the role {role} yet: `stagebloom seed --demo` puts the company in", role=role
            )
        rows[role] = row
    ids = [row.id for row in rows.values()]
    stages = [_stage(row.name, row.people) for row in session.execute(STAGES_OF_SHOWN, {"ids": ids})]
    others = session.execute(STAGES_OF_OTHERS, {"ids": ids, "wanted": OTHER_STAGES})
    stages += [_stage(name, []) for name in others.scalars()]
    return {
        "people": [{"role": role, "id": row.external_id, "name": row.name} for role, row in rows.items()],
        "roles": _shown_first([name.removeprefix(ROLE) for name in session.execute(ROLES).scalars()]),
        "stages": stages,
    }


def _stage(name: str, people: list[str]) -> dict[str, str]:
    stage_id = name.removeprefix(STAGE)
    return {"id": stage_id, "label": f"Stage {stage_id}: {', '.join(people) or 'nobody shown here'}"}


def _shown_first(roles: list[str]) -> list[str]:
    return sorted(roles, key=lambda role: (*SHOWN_ROLES, role).index(role))
