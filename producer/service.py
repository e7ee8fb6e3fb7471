"""Step ①: `NotificationService`, the calls by which an application says what happened.

Given a session, an event joins the caller's transaction and the workers are woken when it commits;
without one, each call is a transaction of its own. Either way the call returns as soon as the event is
recorded; a broker that is away costs at most a second and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict, Unpack

from sqlalchemy.orm import Session, scoped_session
from sqlalchemy.orm.attributes import set_committed_value

from producer.audience import everyone, group, person_id, user
from producer.outbox import own_session, ring_after_commit
from producer.sent import WAIT_SECONDS, SentEvent
from shared.audience import Audience, AudienceLike, Term, parse_audience, role_terms
from shared.database import transaction
from shared.doorbell import ring
from shared.errors import InvalidAudience, InvalidInput
from shared.events import EventDraft, record_event
from shared.models import NotificationEvent
from shared.settings import Settings, get_settings
from shared.tasks import PROCESS_EVENT


class CommonOptions(TypedDict, total=False):
    """What every call takes beside its own parameters.

    category: instead of that of the catalogue's row. link, image: http(s) or a path of yours.
    actions: up to 5 of {"label", "link"}. thread_key: groups what belongs together.
    priority: "low", "normal" (default), "high" or "critical".
    exclude: groups or people who get nothing.
    idempotency_key: the same key of the same `source` is one event, however often it is sent.
    texts: {locale: {"title", "message"}}, instead of title and message. format: "rich" for messages in the
    HTML that docs/templates.md lists, "plain" (default) for text.
    """

    format: str
    category: str | None
    link: str | None
    image: str | None
    actions: Iterable[Mapping[str, str]]
    thread_key: str | None
    priority: str
    exclude: Iterable[str | Term]
    source: str
    idempotency_key: str | None
    texts: Mapping[str, Mapping[str, str]] | None


class EventOptions(CommonOptions, total=False):
    """source_user: who caused it (id or object with an id)."""

    source_user: Any


class Options(EventOptions, total=False):
    """What `send_*` takes as well.

    event_type: a row of the catalogue (default "system"). data: JSON that stands in the frame, at most
    16 KB.
    """

    event_type: str
    data: Mapping[str, Any]


class NotificationService:
    """Records events. Thread-safe without a session; with one, as safe as the session is."""

    def __init__(
        self, session: Session | scoped_session[Session] | None = None, settings: Settings | None = None
    ) -> None:
        self._given_session = session
        self._settings = settings or get_settings()

    @property
    def _session(self) -> Session | None:
        """The caller's session; of a scoped one, that of the thread which calls."""
        return own_session(self._given_session)

    def create_event(
        self,
        event_type: str,
        event_data: Mapping[str, Any] | None = None,
        target_roles: Iterable[str] | None = None,
        *,
        audience: AudienceLike | None = None,
        title: str | None = None,
        message: str | None = None,
        notification_type: str | None = None,
        **options: Unpack[EventOptions],
    ) -> NotificationEvent:
        """Record that something happened; whoever it concerns by role, audience or catalogue is notified.

        `audience` and `target_roles` add up; with neither, the catalogue's row of `event_type` decides, as
        it does for texts and type that are not given.

        Returns: the recorded event (`id`, `status`, `processed`).
        Raises: InvalidInput (UnknownGroup, InvalidAudience, TooLarge), Conflict, Unavailable: see
        `shared.errors`. Nothing is recorded then.
        """
        if "data" in options:
            raise InvalidInput("data: expected event_data, which create_event takes instead", field="data")
        return self._record(
            EventDraft(
                event_type=event_type,
                data={} if event_data is None else event_data,
                audience=_joined(target_roles, audience),
                title=title,
                message=message,
                notification_type=notification_type,
                **plain_options(options),
            )
        )

    def process_event(self, event: NotificationEvent, timeout: float = WAIT_SECONDS) -> SentEvent:
        """Wake the workers for an event and wait until it is processed (default: 10 s).

        Raises: Timeout when it takes longer; the work goes on.
        """
        ring(PROCESS_EVENT, self._settings)
        sent = SentEvent(event, self._settings, self._session).wait(timeout)
        for name in ("status", "recipient_count", "planned_at", "processed_at"):
            set_committed_value(event, name, getattr(sent.event, name))  # read, not changed: nothing to flush
        return sent

    def send_notification(
        self,
        recipient: Any,
        title: str | None = None,
        message: str | None = None,
        notification_type: str = "info",
        **options: Unpack[Options],
    ) -> SentEvent:
        """Notify one person, given as the application's id or as an object with an id."""
        return self._send(user(recipient), title, message, notification_type, options)

    def send_bulk_notifications(
        self,
        recipients: Iterable[Any],
        title: str | None = None,
        message: str | None = None,
        notification_type: str = "info",
        **options: Unpack[Options],
    ) -> SentEvent:
        """Notify several people. Naming someone twice notifies them once."""
        if isinstance(recipients, (str, bytes, Mapping)) or not isinstance(recipients, Iterable):
            raise InvalidAudience.field("recipients", recipients, "a list of people")
        return self._send([user(recipient) for recipient in recipients], title, message, notification_type, options)

    def send_role_notifications(
        self,
        target_roles: Iterable[str],
        title: str | None = None,
        message: str | None = None,
        notification_type: str = "info",
        **options: Unpack[Options],
    ) -> SentEvent:
        """Notify everyone who has one of the roles."""
        return self._send(role_terms(target_roles), title, message, notification_type, options)

    def send_broadcast(
        self,
        title: str | None = None,
        message: str | None = None,
        notification_type: str = "info",
        **options: Unpack[Options],
    ) -> SentEvent:
        """Notify every active person."""
        return self._send(everyone(), title, message, notification_type, options)

    def send_stage_notification(
        self,
        stage_id: Any,
        title: str | None = None,
        message: str | None = None,
        notification_type: str = "info",
        **options: Unpack[Options],
    ) -> SentEvent:
        """Notify the participants of a stage."""
        return self._send(group("stage_" + person_id(stage_id, "stage_id")), title, message, notification_type, options)

    def send(self, draft: EventDraft) -> SentEvent:
        """Record an event that is put together already, as `happened()` does."""
        return SentEvent(self._record(draft), self._settings, self._session)

    def _send(
        self, audience: AudienceLike, title: str | None, message: str | None, notification_type: str, options: Options
    ) -> SentEvent:
        if options.get("texts") is None:  # the catalogue must not speak for someone who forgot
            for name, value in (("title", title), ("message", message)):
                if value is None:
                    raise InvalidInput.field(name, None, "a text")
        return self.send(
            EventDraft(
                audience=audience,
                title=title,
                message=message,
                notification_type=notification_type,
                **plain_options(options),
            )
        )

    def _record(self, draft: EventDraft) -> NotificationEvent:
        session = self._session
        if session is not None:
            event = record_event(session, draft, self._settings)
            ring_after_commit(session, PROCESS_EVENT, self._settings)
            return event
        with transaction(self._settings) as own:
            event = record_event(own, draft, self._settings)
        ring(PROCESS_EVENT, self._settings)
        return event


def _joined(target_roles: Iterable[str] | None, audience: AudienceLike | None) -> AudienceLike | None:
    """Roles and audience together; None when neither was given."""
    if target_roles is None:
        return audience
    roles = Audience(tuple(role_terms(target_roles)))
    return roles if audience is None else roles | parse_audience(audience)


def plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as the draft takes them: people by their ids."""
    unknown = set(options) - Options.__annotations__.keys()
    if unknown:
        raise TypeError(f"unknown option {', '.join(sorted(unknown))}; known are {', '.join(Options.__annotations__)}")
    plain = dict(options)
    if plain.get("source_user") is not None:
        plain["source_user"] = person_id(plain["source_user"], "source_user")
    return plain
