"""The audience algebra: what is understood, what is refused, and what is unknown."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.orm import Session

from shared.audience import Audience, Term, parse_audience, parse_term, refuse_unknown, role_terms
from shared.errors import InvalidAudience, UnknownGroup
from tests.company import Company

RH, TUTEUR, STAGE = Term(("role_rh",)), Term(("role_tuteur",)), Term(("stage_123",))


@pytest.mark.parametrize(
    ("written", "groups"),
    [
        ("role_rh", ("role_rh",)),
        ("  role_rh ", ("role_rh",)),
        ("role_tuteur & stage_123", ("role_tuteur", "stage_123")),
        ("role_tuteur&stage_123", ("role_tuteur", "stage_123")),
        ("a & b & a", ("a", "b")),
        ("équipe_été", ("équipe_été",)),
        ("user_jean.dupont@example.test", ("user_jean.dupont@example.test",)),
        ("x" * 200, ("x" * 200,)),
        ("'; DROP".replace(" ", "_").replace(";", "-"), ("'-_DROP",)),
    ],
)
def test_a_term_is_read_as_written(written: str, groups: tuple[str, ...]) -> None:
    assert parse_term(written) == Term(groups)


@pytest.mark.parametrize(
    "malformed",
    [
        "", " ", "&", "role_rh &", "& role_rh", "a & & b", "role rh", "a | b", "a, b", "a; b", "!a", "(a)",
        "\ud800", "x" * 201, " & ".join(f"g{n}" for n in range(11)),
        None, 7, 1.5, True, ["a"], {"a": 1}, b"role_rh",
    ],
)  # fmt: skip
def test_a_malformed_term_is_refused_with_its_value(malformed: Any) -> None:
    with pytest.raises(InvalidAudience) as refused:
        parse_audience([malformed])
    assert refused.value.details["field"] == "audience"
    assert repr(malformed)[:90] in refused.value.message


@pytest.mark.parametrize("code", [0x00, 0x0A, 0x7F, 0x85, 0xAD, 0x061C, 0x200B, 0x200D, 0x200E, 0x202E, 0x2060, 0xFEFF])
def test_what_can_not_be_seen_in_a_name_is_named_with_its_place(code: int) -> None:
    for refuses in (lambda name: parse_audience([name]), lambda name: role_terms([name], "audience")):
        with pytest.raises(InvalidAudience, match=rf"^audience: .* got U\+{code:04X} .* at character 3$"):
            refuses(f"rh{chr(code)}g")


@pytest.mark.parametrize(
    "groups", [(), ("",), ("a & b",), "role_rh", ["role_rh"], (7,), tuple(f"g{n}" for n in range(11))]
)
def test_a_term_made_by_hand_is_checked_as_well(groups: Any) -> None:
    with pytest.raises(InvalidAudience):
        Term(groups)


@pytest.mark.parametrize("audience", [None, 7, {"role_rh": 1}, b"role_rh", object()])
def test_what_is_no_audience_at_all_is_refused(audience: Any) -> None:
    with pytest.raises(InvalidAudience, match="^audience: expected"):
        parse_audience(audience)


@pytest.mark.parametrize("exclude", [None, 7, [7], {"user_7": 1}, ["a b"], [""], "a & b", ["user_7 & role_rh"]])
def test_a_malformed_exclusion_is_named_as_such(exclude: Any) -> None:
    with pytest.raises(InvalidAudience, match="^exclude: expected"):
        parse_audience("role_rh", exclude)


@pytest.mark.parametrize("audience", [[], (), set(), Audience(), Audience((), ("user_7",))])
def test_an_empty_audience_is_refused(audience: Any) -> None:
    with pytest.raises(InvalidAudience, match="at least one term"):
        parse_audience(audience)


def test_every_form_means_the_same() -> None:
    expected = Audience((RH, Term(("role_tuteur", "stage_123"))), ("user_7",))
    forms: list[Any] = [
        ["role_rh", "role_tuteur & stage_123"],
        (RH, "role_tuteur & stage_123"),
        iter([RH, TUTEUR & STAGE]),
        RH | TUTEUR & STAGE,
        Audience(("role_rh", "role_tuteur & stage_123")),  # type: ignore[arg-type]
    ]
    for form in forms:
        assert parse_audience(form, ["user_7"]) == expected
    assert (RH | TUTEUR & STAGE).excluding(Term(("user_7",))) == expected
    assert parse_audience((RH | TUTEUR & STAGE).excluding(Term(("user_7",)))) == expected


def test_a_single_exclusion_needs_no_list() -> None:
    assert parse_audience("role_rh", "user_7").exclude == ("user_7",)


def test_operators_keep_order_and_drop_repetitions() -> None:
    assert (RH | TUTEUR | RH).terms == (RH, TUTEUR)
    assert (RH | (TUTEUR | STAGE)).terms == (RH, TUTEUR, STAGE)
    assert (RH & TUTEUR & RH).groups == ("role_rh", "role_tuteur")
    assert parse_audience(["b", "a", "b"]).terms == (Term(("b",)), Term(("a",)))


def test_exclusions_survive_a_union_and_add_up() -> None:
    seven, eight = Term(("user_7",)), Term(("user_8",))
    assert (RH.excluding(seven) | TUTEUR.excluding(eight, seven)).exclude == ("user_7", "user_8")
    assert parse_audience(RH.excluding(seven), [eight]).exclude == ("user_7", "user_8")


def test_an_intersection_can_not_be_excluded() -> None:
    with pytest.raises(InvalidAudience, match="a single group"):
        RH.excluding(TUTEUR & STAGE)


def test_too_wide_an_intersection_is_refused_however_it_is_made() -> None:
    wide = Term(tuple(f"g{n}" for n in range(10)))
    with pytest.raises(InvalidAudience, match="1 to 10 groups"):
        wide & RH


def test_what_can_not_be_intersected_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        RH & (TUTEUR | STAGE)  # type: ignore[operator]


def test_too_many_terms_are_refused() -> None:
    with pytest.raises(InvalidAudience, match="at most 100000"):
        parse_audience(f"user_{n}" for n in range(100_001))


def test_terms_read_as_they_are_written() -> None:
    assert str(TUTEUR & STAGE) == "role_tuteur & stage_123"


@pytest.mark.parametrize("roles", [None, "rh", 7, {"rh": 1}, b"rh", [""], ["r h"], [7], ["rh & everyone"], ["x" * 200]])
def test_roles_that_are_none_are_refused_by_name(roles: Any) -> None:
    with pytest.raises(InvalidAudience, match="^target_roles: expected"):
        role_terms(roles)


def test_roles_become_terms() -> None:
    assert role_terms(["rh", "admin"]) == [Term(("role_rh",)), Term(("role_admin",))]


def test_a_group_that_exists_and_is_empty_is_fine(company: Company, session: Session) -> None:
    company.groups("role_rh", "stage_1")
    refuse_unknown(session, parse_audience(["role_rh & stage_1", "everyone"]))


def test_every_unknown_name_is_named(company: Company, session: Session) -> None:
    company.person("42", "role_rh")
    with pytest.raises(UnknownGroup) as refused:
        refuse_unknown(session, parse_audience(["role_rh & role_hr", "user_42", "user_43", "stage_9"], ["survey_7"]))
    assert refused.value.details["unknown"] == ["role_hr", "stage_9", "survey_7", "user_43"]
    assert all(name in refused.value.message for name in ("role_hr", "stage_9", "survey_7", "user_43"))
    assert "user_42" not in refused.value.message


def test_names_are_told_apart_by_case_and_never_matched_as_patterns(company: Company, session: Session) -> None:
    company.person("42", "role_rh")
    for name in ("role_RH", "role%", "role_r_", "Everyone", "user_4%", "user_"):
        with pytest.raises(UnknownGroup):
            refuse_unknown(session, parse_audience(name))


def test_a_person_is_known_by_their_own_id_not_by_ours(company: Company, session: Session) -> None:
    inner_id = company.person("anna")
    refuse_unknown(session, parse_audience("user_anna"))
    with pytest.raises(UnknownGroup):
        refuse_unknown(session, parse_audience(f"user_{inner_id}"))


def test_a_deactivated_person_is_known(company: Company, session: Session) -> None:
    company.person("42", is_active=False)
    refuse_unknown(session, parse_audience("user_42"))


def test_many_unknown_names_are_cut_short(session: Session) -> None:
    with pytest.raises(UnknownGroup) as refused:
        refuse_unknown(session, parse_audience(f"stage_{n:04}" for n in range(1000)))
    assert len(refused.value.details["unknown"]) == 20
    assert "…" in refused.value.message


@pytest.mark.parametrize(
    ("name", "told", "untold"),
    [
        (
            "user_9999",
            "expected known people, got user_9999. People are recorded with Directory.upsert_people()",
            "add_g",
        ),
        ("role_RH", "got role_RH; did you mean role_rh? Groups", "upsert_people"),
        ("role_eleve", "did you mean role_élève?", "role_rh"),
        ("Stage_1", "did you mean stage_1?", "role_"),
        ("survey_7", "got survey_7. Groups are made known with Directory.add_groups()", "did you mean"),
    ],
)
def test_the_refusal_says_what_to_do_about_this_name(
    company: Company, session: Session, name: str, told: str, untold: str
) -> None:
    company.groups("role_rh", "role_élève", "stage_1")
    with pytest.raises(UnknownGroup) as refused:
        refuse_unknown(session, parse_audience(name))
    assert told in refused.value.message
    assert untold not in refused.value.message
