"""Templates of the earlier system: what becomes of Django's syntax and of Python's, and what can't."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click import BadParameter

from shared.commands.import_django import import_django
from shared.errors import InvalidInput
from shared.importing.mapping import Mapping
from shared.importing.old_templates import read_template
from shared.importing.rules import Refused, Rules
from shared.settings import Settings
from shared.templates import TemplateDraft, preview
from tests.shared.importing.earlier import RULES, change, cli, rows, run


def translated(
    settings: Settings, title: Any, message: Any, name: Any = "survey", rules: Rules = RULES
) -> TemplateDraft:
    return read_template(SimpleNamespace(id=1, name=name, title=title, message=message), rules, settings)


def add_template(file: Path, name: str, title: Any, message: Any) -> None:
    with sqlite3.connect(file) as old:
        old.execute(
            "INSERT INTO notification_service_notificationtemplate (name, title_template, message_template) VALUES (?, ?, ?)",
            [name, title, message],
        )


@pytest.mark.parametrize(
    ("source", "data", "said"),
    [
        ("Bonjour {{ name }}, à lundi", {"name": "Zoé"}, "Bonjour Zoé, à lundi"),
        ("Bonjour {name}, à lundi", {"name": "Zoé"}, "Bonjour Zoé, à lundi"),
        ("{stage.title} de {people[0]}, {days[lundi]} h", {"stage": {"title": "Data"}, "people": ["Zoé"], "days": {"lundi": 9}}, "Data de Zoé, 9 h"),
        ("{{ stage.title }} de {{ people.0 }}", {"stage": {"title": "Data"}, "people": ["Zoé"]}, "Data de Zoé"),
        ("{{ people.0.name|upper }}", {"people": [{"name": "Zoé"}]}, "ZOÉ"),
        ("{{ name|default:'personne' }}", {"name": ""}, "personne"),
        ('{{ name|default:"a|b:c" }}', {"name": None}, "a|b:c"),
        ("{{ name|default:other }}", {"name": 0, "other": "autre"}, "autre"),
        ("{% if name == 'a|b:c' %}oui{% else %}non{% endif %}", {"name": "a|b:c"}, "oui"),
        ("{% for one in people %}{{ one|title }} {% endfor %}{# pas vu #}", {"people": ["zoé", "tom"]}, "Zoé Tom"),
        ("{{ people|join:', ' }}", {"people": ["Zoé", "Tom"]}, "Zoé, Tom"),
        ("{name} {{ou}} rien }}", {"name": "Zoé"}, None),
        ("{name} : } seul }}", {"name": "Zoé"}, None),
        ("{name} dit }} et {{", {"name": "Zoé"}, "Zoé dit } et {"),
        ("Sans rien, à 100 %", {}, "Sans rien, à 100 %"),
        ("f(x) { return } ; {{ name }}", {"name": "Zoé"}, "f(x) { return } ; Zoé"),
        ("<b>{name}</b>", {"name": "<i>"}, "<b><i></b>"),
    ],
)  # fmt: skip
def test_what_translates_says_the_same(settings: Settings, source: str, data: dict[str, Any], said: str | None) -> None:
    if said is None:
        with pytest.raises(Refused):
            translated(settings, "Titre", source)
        return
    draft = translated(settings, "Titre", source)
    assert preview(draft, data, settings).message == said


def test_the_variables_are_declared_but_for_those_of_the_catalogue(settings: Settings) -> None:
    message = "{{ zone }} {{ due.day }} {% if extra %}…{% endif %}"
    draft = translated(settings, "{{ survey_title }}", message, "survey.new")
    assert draft.variables == ["due", "extra", "zone"]


@pytest.mark.parametrize(
    ("title", "message", "why"),
    [
        ("Titre", "a\n\n{{ x|date:'d/m/Y' }}", "message: line 3: unknown filter 'date'"),
        ("Titre", "{% load i18n %}\n{% trans 'x' %}", "message: line 1: Encountered unknown tag 'load'"),
        ("{% url 'home' %}", "x", "title: line 1: Encountered unknown tag 'url'"),
        ("Titre", "{{ nom du stage }}", "message: line 1: expected token 'end of print statement', got 'du'"),
        ("Titre", "{% for a in b %}\n{{ forloop.counter }}{% endfor %}", "message: line 2: unknown variable 'forloop'"),
        ("Titre", "{{ a.__class__ }}", "message: line 1: '__class__' can't be reached"),
        ("Titre", "{{ a() }}", "message: line 1: a template can't call"),
        ("Titre", "x\n{{ name }} et {other}", "message: line 2: {other} beside {{ }}"),
        ("Bonjour {name}", "{{ name }}", "title: line 1: {name} beside {{ }}"),
        ("Titre", "x\n{}", "message: line 2: {}: expected placeholders such as {name}"),
        ("Titre", "{0}", "message: line 1: {0}: expected placeholders"),
        ("Titre", "{price:.2f}", "message: line 1: {price:.2f}: expected placeholders"),
        ("Titre", "{name!r}", "message: line 1: {name!r}: expected placeholders"),
        ("Titre", "{a.__class__}", "message: line 1: '__class__' can't be reached"),
        ("Titre", "une accolade\nseule {", "message: line 2: {: expected placeholders"),
        ("Titre", "Bonjour %(name)s", "message: line 1: %(name)s: expected placeholders such as {name}"),
        ("", "x", "title: expected a text of 1 to 8000 characters, got ''"),
        (None, "x", "title: expected a text of 1 to 8000 characters, got ''"),
        ("Titre", "x" * 9000, "message: expected a text of 1 to 8000 characters, got 9000 characters"),
        ("Titre", "a\x00", "name, title or message is no text"),
        ("Titre", b"a", "name, title or message is no text"),
        ("Titre", "{{ " + "(" * 500 + "a" + ")" * 500 + " }}", "message: line 1: too deeply nested"),
    ],
)  # fmt: skip
def test_what_does_not_translate_is_refused_with_its_line(
    settings: Settings, title: Any, message: Any, why: str
) -> None:
    with pytest.raises(Refused) as refused:
        translated(settings, title, message)
    assert str(refused.value).startswith(f"template: {why}")


@pytest.mark.parametrize("name", ["bienvenue", "survey.", "", "surv ey", "a\nb", None])
def test_a_name_that_is_none_here_is_refused_and_may_be_given_another(settings: Settings, name: str | None) -> None:
    with pytest.raises(Refused, match=r"template: name: expected .*--template"):
        translated(settings, "Titre", "Texte", name)
    renamed = replace(RULES, templates={(name or "").strip(): "survey.new"})
    assert translated(settings, "Titre", "Texte", name, renamed).name == "survey.new"
    assert translated(settings, "Titre", "Texte", " Survey.New ").name == "survey.new"


def test_templates_come_as_versions_that_are_not_active_and_once(here: Settings, file: Path) -> None:
    add_template(file, "bienvenue", "Bonjour", "x")
    add_template(file, "kpi_alert", "Alerte", "Le seuil\nest dépassé le {{ since|date:'d/m' }}")
    dry = run(here, file, dry_run=True)
    assert (dry.templates, dry.templates_taken, dry.templates_added) == (4, 2, 0)
    assert rows(here, "SELECT count(*) FROM notification_templates") == [(0,)]

    report = run(here, file)
    assert (report.templates, report.templates_taken, report.templates_added) == (4, 2, 2)
    (refused, unknown) = sorted(reason for reason in report.remarks.counts if reason.startswith("template"))
    assert refused.startswith("template: message: line 2: unknown filter 'date'")
    assert report.remarks.examples[refused] == ["4: kpi_alert"]
    assert report.remarks.examples[unknown] == ["3: bienvenue"]
    assert report.notifications_added == 8, "nothing else fails"
    found = rows(
        here,
        "SELECT name, locale, version, title, message, variables, is_active FROM notification_templates ORDER BY name",
    )
    assert found == [
        ("stage_update", "fr", 1, "Stage {{ stage_id }}", "{% if tutor %}Tuteur : {{ tutor.name|default('?', true) }}\n{% endif %}Bon stage !", ["tutor"], False),
        ("survey", "fr", 1, "Sondage : {{ survey_title }}", "Répondez avant le {{ due['day'] }}, merci {{ person.name }} !", ["due", "person", "survey_title"], False),
    ]  # fmt: skip
    audited = "SELECT actor, target, details FROM audit_log WHERE action = 'template.change' ORDER BY target"
    assert rows(here, audited)[0] == ("cli", "stage_update/fr", {"change": "saved", "version": 1})

    rows(here, "UPDATE notification_templates SET is_active = true RETURNING 1")
    assert run(here, file).templates_added == 0
    change(file, "UPDATE notification_service_notificationtemplate SET title_template = 'Nouveau' WHERE id = 1")
    assert run(here, file).templates_added == 1
    found = rows(here, "SELECT version, is_active FROM notification_templates WHERE name = 'stage_update' ORDER BY 1")
    assert found == [(1, True), (2, False)]


def test_the_table_of_templates_may_be_missing_or_made_otherwise(here: Settings, file: Path) -> None:
    change(
        file,
        "ALTER TABLE notification_service_notificationtemplate RENAME COLUMN title_template TO sujet",
        "ALTER TABLE notification_service_notificationtemplate RENAME COLUMN message_template TO corps",
    )
    report = run(here, file)
    (reason,) = (reason for reason in report.remarks.counts if reason.startswith("template"))
    assert reason == (
        "templates: --template-title-column, --template-message-column: expected columns of"
        " notification_service_notificationtemplate: id, name, sujet, corps"
    )
    assert report.notifications_added == 8
    with pytest.raises(InvalidInput, match="--template-title-column: expected a column of"):
        run(here, file, mapping=Mapping(template_title_column="titre"))
    named = Mapping(template_title_column="sujet", template_message_column="corps")
    assert run(here, file, mapping=named).templates_added == 2

    change(file, "DROP TABLE notification_service_notificationtemplate")
    assert run(here, file).templates == 0
    with pytest.raises(InvalidInput, match="--templates-table: expected a table"):
        run(here, file, mapping=Mapping(templates_table="modeles"))


def test_the_command_takes_other_names_for_roles_and_templates(here: Settings, file: Path) -> None:
    add_template(file, "Bienvenue = accueil", "Bonjour", "{name}")
    change(file, "UPDATE accounts_user SET role = 'Chef de projet' WHERE id = 1")
    names = ("--template", "Bienvenue = accueil=user_action.welcome", "--role", "Chef de projet=chef")
    done = cli(here, file, *names, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["templates_added"] == 3
    assert rows(here, "SELECT count(*) FROM notification_templates WHERE name = 'user_action.welcome'") == [(1,)]
    assert rows(here, "SELECT count(*) FROM memberships WHERE group_name = 'role_chef'") == [(1,)]


@pytest.mark.parametrize("pair", ["RH", "=rh", "RH=r h", "RH="])
def test_a_name_for_an_old_role_that_is_none_is_refused(pair: str) -> None:
    arguments = ["--source", "sqlite:////nowhere", "--role", pair]
    with pytest.raises(BadParameter, match="expected OLD=NEW, NEW a group name"):
        import_django.main(arguments, standalone_mode=False)
