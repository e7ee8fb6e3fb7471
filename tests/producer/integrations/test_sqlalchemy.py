"""A small application with SQLAlchemy models of its own: what it does to them becomes events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import ForeignKey, Identity, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from producer import Person, SentEvent, happened
from producer.integrations.sqlalchemy import Watch, unwatch, watch
from shared.database import engine
from shared.errors import InvalidInput, UnknownGroup
from shared.models import NotificationEvent
from shared.redis import connect
from shared.settings import Settings
from shared.tasks import EVENTS
from tests.company import Company
from tests.producer.integrations.looking import actions, events, members
from tests.system import System


class Base(DeclarativeBase):
    """The application's own tables, beside ours in one database."""


class Employee(Base):
    __tablename__ = "app_employees"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str]
    role: Mapped[str]


class Stage(Base):
    __tablename__ = "app_stages"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    status: Mapped[str] = mapped_column(default="en_cours")
    title: Mapped[str] = mapped_column(unique=True)
    stagiaire_id: Mapped[int] = mapped_column(ForeignKey(Employee.id))
    tuteur_id: Mapped[int | None] = mapped_column(ForeignKey(Employee.id))
    documents: Mapped[list[Document]] = relationship(back_populates="stage")


class Document(Base):
    __tablename__ = "app_documents"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    title: Mapped[str]
    stage_id: Mapped[int] = mapped_column(ForeignKey(Stage.id))
    stage: Mapped[Stage] = relationship(back_populates="documents")


class Report(Document):
    """Of a subclass: watched with its base."""


def status_changed(stage: Stage, old: str, new: str) -> Any:
    if new == "termine":
        return happened("stage_update", "completed", {"stage_id": stage.id})
    return happened("stage_update", "status_changed", {"stage_id": stage.id, "old_status": old, "new_status": new})


WATCHES = {
    Employee: Watch(person=lambda one: Person(one.id, one.name), roles=lambda one: [one.role]),
    Stage: Watch(
        inserted=lambda stage: happened("stage_update", "created", {"stage_id": stage.id}),
        changed={
            "status": status_changed,
            "title": lambda stage, old, new: None,
            "tuteur_id": lambda stage, old, new: happened(
                "stage_update", "updated", {"stage_id": stage.id, "old": old, "new": new}
            ),
        },
        members=lambda stage: {f"stage_{stage.id}": [stage.stagiaire_id, stage.tuteur_id]},
    ),
    Document: Watch(
        inserted=lambda one: happened(
            "document_upload", "uploaded", {"stage_id": one.stage.id, "document_title": one.title}
        )
    ),
}


@pytest.fixture
def application(settings: Settings, clean: None) -> Iterator[None]:
    Base.metadata.create_all(engine(settings))
    for model, what in WATCHES.items():
        watch(model, what)
    yield
    for model in WATCHES:
        unwatch(model)
    Base.metadata.drop_all(engine(settings))


@pytest.fixture
def own(application: None, settings: Settings) -> Iterator[Session]:
    """The application's session, with SQLAlchemy's defaults. There is an rh, a stagiaire and a tuteur."""
    with Session(engine(settings)) as session:
        session.add_all(
            [
                Employee(name="Rhéa", role="rh"),
                Employee(name="Simon", role="stagiaire"),
                Employee(name="Tom", role="tuteur"),
            ]
        )
        session.commit()
        yield session


def employee(session: Session, role: str) -> Employee:
    return session.scalars(select(Employee).filter_by(role=role)).one()


def add_stage(session: Session, title: str = "Données") -> Stage:
    stage = Stage(title=title, stagiaire_id=employee(session, "stagiaire").id, tuteur_id=employee(session, "tuteur").id)
    session.add(stage)
    return stage


def test_an_insert_is_an_event_of_the_same_transaction(own: Session, settings: Settings) -> None:
    stage = add_stage(own)
    own.flush()
    assert actions(settings) == [], "nobody sees it before the commit"
    own.commit()
    assert actions(settings) == ["created"]
    assert members(settings, f"stage_{stage.id}") == ["Simon", "Tom"]


def test_rolled_back_with_the_change(own: Session, settings: Settings) -> None:
    stage = add_stage(own)
    own.flush()
    group = f"stage_{stage.id}"
    own.rollback()
    own.commit()
    assert actions(settings) == []
    assert members(settings, group) == []


def test_a_savepoint_that_is_rolled_back_takes_its_events_along(own: Session, settings: Settings) -> None:
    add_stage(own)
    own.flush()
    savepoint = own.begin_nested()
    add_stage(own, "Autre")
    own.flush()
    savepoint.rollback()
    own.commit()
    assert actions(settings) == ["created"]


def test_a_change_that_the_database_refuses_leaves_no_event(own: Session, settings: Settings) -> None:
    add_stage(own)
    own.commit()
    add_stage(own)
    with pytest.raises(IntegrityError):
        own.commit()
    own.rollback()
    own.commit()
    assert actions(settings) == ["created"]


def test_a_change_of_a_watched_attribute_is_an_event_with_the_old_and_the_new(own: Session, settings: Settings) -> None:
    stage = add_stage(own)
    own.commit()  # expires the row: the old value is in the database only
    stage.status = "suspendu"
    own.commit()
    stage.status = "termine"
    own.commit()
    assert events(settings)[1:] == [
        ("status_changed", {"old_status": "en_cours", "new_status": "suspendu"}),
        ("completed", {}),
    ]


def test_what_is_not_watched_not_changed_or_no_event_records_nothing(own: Session, settings: Settings) -> None:
    stage = add_stage(own)
    own.commit()
    stage.status = stage.status
    stage.title = "Autre titre"
    own.commit()
    assert actions(settings) == ["created"]


def test_groups_and_people_follow_every_change(own: Session, settings: Settings) -> None:
    stage = add_stage(own)
    own.commit()
    tuteur_id, stage.tuteur_id = stage.tuteur_id, None
    employee(own, "stagiaire").name = "Simone"
    own.commit()
    assert members(settings, f"stage_{stage.id}") == ["Simone"]
    assert events(settings)[-1] == ("updated", {"old": tuteur_id})
    employee(own, "stagiaire").role = "tuteur"
    own.commit()
    assert members(settings, "role_tuteur") == ["Simone", "Tom"]
    assert members(settings, "role_stagiaire") == []


def test_a_function_may_look_at_other_rows_while_flushing(own: Session, settings: Settings) -> None:
    stage = add_stage(own)
    own.commit()
    own.add(Report(title="Rapport", stage_id=stage.id))
    own.commit()
    assert events(settings)[-1] == ("uploaded", {"document_title": "Rapport"}), "and subclasses are watched"


def test_many_rows_in_one_flush_are_many_events(own: Session, settings: Settings) -> None:
    stage = add_stage(own)
    own.add_all(Document(title=f"D{n}", stage=stage) for n in range(100))
    own.commit()
    assert sorted(actions(settings)) == ["created"] + ["uploaded"] * 100


def test_what_bulk_statements_do_is_not_seen_and_breaks_nothing(own: Session, settings: Settings) -> None:
    stage = add_stage(own)
    own.commit()
    own.execute(update(Stage).values(status="termine"))
    own.bulk_insert_mappings(Document.__mapper__, [{"title": "D", "stage_id": stage.id}])
    own.commit()
    assert actions(settings) == ["created"]
    assert own.get_one(Stage, stage.id).status == "termine"


def test_a_refused_event_refuses_the_change(own: Session, settings: Settings, company: Company) -> None:
    watch(Stage, Watch(inserted=lambda stage: happened("stage_update", "created", {"stage_id": "unheard"})))
    add_stage(own)
    with pytest.raises(UnknownGroup, match="stage_unheard"):
        own.commit()
    own.rollback()
    assert company.count("app_stages") == 0
    watch(Stage, WATCHES[Stage])
    add_stage(own)
    own.commit()
    assert actions(settings) == ["created"]


def test_the_same_idempotency_key_is_one_event(own: Session, settings: Settings) -> None:
    stage = add_stage(own)
    own.commit()
    watch(
        Document,
        Watch(
            inserted=lambda one: happened(
                "document_upload",
                "uploaded",
                {"stage_id": one.stage_id, "document_title": one.title},
                idempotency_key=one.title,
            )
        ),
    )
    own.add_all([Document(title="D", stage_id=stage.id), Document(title="D", stage_id=stage.id)])
    own.commit()
    assert actions(settings) == ["created", "uploaded"]


def test_nothing_of_ours_stays_in_the_application_s_session(own: Session) -> None:
    add_stage(own)
    own.flush()
    assert {type(row) for row in own.identity_map.values()} <= {Employee, Stage}


def test_the_workers_are_woken_at_the_commit_and_not_before(own: Session, settings: Settings) -> None:
    stage = add_stage(own)
    own.commit()
    with connect(settings) as client:
        client.delete(EVENTS)
        own.add(Document(title="D", stage=stage))
        own.flush()
        assert client.llen(EVENTS) == 0
        own.commit()
        assert client.llen(EVENTS) == 1


def test_an_attribute_that_does_not_exist_is_named(application: None) -> None:
    with pytest.raises(InvalidInput, match="changed: expected an attribute of Stage: .*status.*, got 'statut'"):
        watch(Stage, Watch(changed={"statut": status_changed}))
    with pytest.raises(InvalidInput, match="got 'documents'"):
        watch(Stage, Watch(changed={"documents": status_changed}))


def test_through_real_workers_it_reaches_the_participants_of_the_new_stage(
    system: System, own: Session, settings: Settings
) -> None:
    add_stage(own)
    own.commit()
    with Session(engine(settings)) as session:
        sent = SentEvent(session.scalars(select(NotificationEvent)).one(), settings)
    assert sorted(one.recipient.name for one in sent) == ["Simon", "Tom"]
    assert {one.title for one in sent} == {"Nouveau stage"}
