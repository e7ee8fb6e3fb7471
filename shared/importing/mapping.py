"""Where the earlier system keeps what: its tables and columns, each an option of the command."""

from __future__ import annotations

from dataclasses import dataclass, field, fields


def _option(default: str, meaning: str, *, required: bool = True) -> str:
    found: str = field(default=default, metadata={"help": meaning, "required": required})
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Mapping:
    """Django's own names, unless said otherwise. What is optional and not there counts as empty."""

    users_table: str = _option("accounts_user", "people")
    user_id_column: str = _option("id", "a person's id: their id here too")
    username_column: str = _option("username", "the name of whoever has no other", required=False)
    first_name_column: str = _option("first_name", "first name", required=False)
    last_name_column: str = _option("last_name", "last name", required=False)
    email_column: str = _option("email", "address", required=False)
    active_column: str = _option("is_active", "whether they may come in", required=False)
    role_column: str = _option("role", "role, which becomes the group role_…", required=False)
    stage_column: str = _option("stage_id", "stage, which becomes the group stage_…", required=False)
    notifications_table: str = _option("notification_service_notification", "notifications")
    notification_id_column: str = _option("id", "a notification's id")
    recipient_column: str = _option("recipient_id", "whose it is")
    title_column: str = _option("title", "title")
    message_column: str = _option("message", "message")
    type_column: str = _option("notification_type", "info, success, warning or error")
    read_column: str = _option("is_read", "whether it is read")
    read_at_column: str = _option("read_at", "when it was read", required=False)
    created_column: str = _option("created_at", "when it was made")
    event_column: str = _option("event_id", "the event it was made for", required=False)
    events_table: str = _option("notification_service_notificationevent", "events", required=False)
    event_id_column: str = _option("id", "an event's id")
    event_type_column: str = _option("event_type", "an event's type", required=False)
    event_data_column: str = _option("event_data", "an event's data, JSON", required=False)
    templates_table: str = _option("notification_service_notificationtemplate", "templates", required=False)
    template_id_column: str = _option("id", "a template's id", required=False)
    template_name_column: str = _option("name", "a template's name", required=False)
    template_title_column: str = _option("title_template", "a template's title", required=False)
    template_message_column: str = _option("message_template", "a template's message", required=False)


OPTIONS = {one.name: one for one in fields(Mapping)}


def is_required(option: str, value: str) -> bool:
    """Whether it has to be there: what nobody can do without, and what somebody asked for by name."""
    return bool(OPTIONS[option].metadata["required"]) or value != OPTIONS[option].default


def flag(option: str) -> str:
    """As it is given on the command line."""
    return "--" + option.replace("_", "-")
