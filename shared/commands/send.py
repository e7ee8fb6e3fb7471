"""`stagebloom send`: one notification, from the command line."""

from __future__ import annotations

import json
from typing import Any

import click

from shared.audience import Term, role_terms
from shared.audit import COMMAND_LINE, Actor, record_send
from shared.database import transaction
from shared.doorbell import ring
from shared.events import EventDraft, is_repeated, record_event
from shared.models import NOTIFICATION_TYPES, PRIORITIES
from shared.tasks import PROCESS_EVENT


@click.command()
@click.option("--role", "roles", multiple=True, help="a role; several may be given")
@click.option(
    "--to",
    "terms",
    multiple=True,
    help='a term such as user_42, stage_7 or "role_rh & entreprise_3"; several may be given',
)
@click.option("--everyone", is_flag=True, help="every active person")
@click.option("--exclude", multiple=True, help="a group or person who gets nothing")
@click.option("--title", required=True)
@click.option("--message", required=True)
@click.option("--type", "notification_type", type=click.Choice(NOTIFICATION_TYPES), default="info", show_default=True)
@click.option("--event-type", default="system", show_default=True, help="a row of the catalogue, for its category")
@click.option("--priority", type=click.Choice(PRIORITIES), default="normal", show_default=True)
@click.option("--data", help="a JSON object that stands in the frame")
@click.option("--link", help="http(s) address or path to open")
@click.option("--image", help="http(s) address or path of a picture")
@click.option("--idempotency-key", help="the same key again is the same event: nothing is sent twice")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def send(
    roles: tuple[str, ...],
    terms: tuple[str, ...],
    everyone: bool,
    exclude: tuple[str, ...],
    as_json: bool,
    data: str | None,
    **said: Any,
) -> None:
    """Send a notification and print the event's id."""
    audience: list[str | Term] = [*role_terms(roles), *terms, *(["everyone"] if everyone else [])]
    if not audience:
        raise click.UsageError("Say to whom: --role ROLE, --to TERM or --everyone.")
    draft = EventDraft(audience=audience, exclude=exclude, data=_json_object(data), source="cli", **said)
    with transaction() as session:
        event = record_event(session, draft)
        repeated = is_repeated(session, event)
        if not repeated:
            record_send(session, Actor(COMMAND_LINE), "notification.send", event)
    is_rung = ring(PROCESS_EVENT)
    if as_json:
        click.echo(json.dumps({"event_id": event.id, "status": event.status, "repeated": repeated, "broker": is_rung}))
        return
    if repeated:
        click.echo(f"event {event.id} was recorded before: nothing is sent again")
        return
    waits = "" if is_rung else "; the broker has not answered yet: it goes out by itself"
    click.echo(f"event {event.id} recorded{waits}")


def _json_object(value: str | None) -> dict[str, Any]:
    try:
        parsed = json.loads(value or "{}")
    except ValueError as error:
        raise click.BadParameter(f"expected a JSON object: {error}", param_hint="--data") from None
    if not isinstance(parsed, dict):
        raise click.BadParameter("expected a JSON object", param_hint="--data")
    return parsed
