"""Verdict documents: what can be made validates, is finite JSON, and is read back as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress.attacks import ATTACKS
from safecompress.checks import EXIT_CODES, CheckResult, Status
from safecompress.errors import DataError, RunFolderError
from safecompress.verdict_agreement import contradiction
from safecompress.verdict_names import AUDITED, COMPRESSED, DENSE, SCHEMA_VERSION
from safecompress.verdicts.assemble import AuditFacts, ExportFacts, RunFacts, assemble
from safecompress.verdicts.document import (
    AuditedModel,
    AuditVerdict,
    CompressedModel,
    DifferentialPrivacy,
)
from safecompress.verdicts.export_document import ExportVerdict
from safecompress.verdicts.part import encodable
from safecompress.verdicts.parts import CheckEntry, ComparedModel
from safecompress.verdicts.read import KINDS, read_document, read_verdict
from safecompress.verdicts.schema import json_schema
from safecompress.verdicts.verdict import Finding, Outcome
from tests.support import count
from tests.verdict_documents import CHECKS, JSON, TEXT, objects, parts, subject
from tests.verdict_schema import SCHEMA, complaint

LOSS = ATTACKS.build("loss", where="test")
SUBJECTS = {name: subject(name, seed=k) for k, name in enumerate((DENSE, COMPRESSED, AUDITED))}
OVERALL = st.sampled_from(sorted(EXIT_CODES))
MANY = settings(max_examples=count(25, 500))


def documents(kind: str) -> st.SearchStrategy[Any]:
    """Return documents whose PASS, where they say so, follows from their checks."""
    return parts(KINDS[kind]).filter(lambda document: not contradiction(document.to_json()))


EVERY = st.one_of([documents(kind) for kind in KINDS])


def test_the_committed_schema_is_the_documents_own() -> None:
    assert json.loads(SCHEMA.read_text()) == json_schema(), "make reference"


def test_every_field_and_every_part_is_described() -> None:
    described = json_schema()["$defs"]
    del described["JsonValue"]
    for name, part in described.items():
        assert part.get("description"), name
        for field, schema in part.get("properties", {}).items():
            # A field described as its part is has the part's description.
            stands_for = described.get(schema.get("$ref", "").rpartition("/")[2], {})
            assert schema.get("description") or stands_for, f"{name}.{field}"


def test_kinds_are_what_their_documents_say() -> None:
    assert {name: json_schema()["discriminator"]["mapping"][name] for name in KINDS} == {
        name: f"#/$defs/{kind.__name__}" for name, kind in KINDS.items()
    }


@pytest.mark.parametrize("kind", sorted(KINDS))
@given(data=st.data())
@MANY
def test_any_document_is_valid_finite_json_and_read_back(kind: str, data: st.DataObject) -> None:
    document = data.draw(documents(kind))
    written = json.dumps(document.to_json(), allow_nan=False)
    assert not complaint(json.loads(written))
    assert read_document(json.loads(written)) == document
    assert read_document(json.loads(written)).to_json() == document.to_json()


@given(checks=st.lists(CHECKS, max_size=4), status=OVERALL, facts=st.data())
@MANY
@pytest.mark.parametrize("kind", ["compress", "audit", "export"])
def test_assembled_documents_hold_every_check_and_control(
    kind: str, checks: list[CheckResult], status: Status, facts: st.DataObject
) -> None:
    found = (status, "a sentence", tuple(checks))
    if kind == "export":
        export = facts.draw(documents("export"))
        given_ = {n: getattr(export, n) for n in ExportFacts.__dataclass_fields__}
        document: Any = assemble(Outcome(*found), ExportFacts(**given_))
    else:
        judged = COMPRESSED if kind == "compress" else AUDITED
        rows = facts.draw(st.lists(parts(ComparedModel), max_size=2))
        finding = Finding(*found, SUBJECTS, judged, (LOSS,), tuple(rows), 0.95)
        if kind == "compress":
            promised = facts.draw(st.none() | parts(DifferentialPrivacy))
            model = facts.draw(parts(CompressedModel))
            document = assemble(finding, RunFacts(model, 2, "s", ("l",), promised=promised))
            assert ("differential_privacy" in document.to_json()) == (promised is not None)
        else:
            model = facts.draw(parts(AuditedModel))
            document = assemble(finding, AuditFacts(model, 1, "s", ("l",)))
            assert "against" not in document.to_json()
    written = document.to_json()
    assert not complaint(written)
    assert written["verdict" if kind != "export" else "status"] == str(status)
    assert [(c["name"], c["status"]) for c in written["checks"]] == [
        (encodable(c.name), str(c.status)) for c in checks
    ]


@pytest.mark.parametrize("status", sorted(set(Status) - set(EXIT_CODES)))
def test_a_check_may_end_in_ways_that_a_verdict_may_not(status: Status) -> None:
    finding = Finding(status, "", (), SUBJECTS, AUDITED, (), (), 0.95)
    model = AuditedModel(name="m", accuracy=None, outputs="logits", classes=3, references=0)
    with pytest.raises(ValueError, match="verdict"):
        assemble(finding, AuditFacts(model, 1, "", ()))


def test_runs_and_audits_need_models_side_by_side() -> None:
    model = AuditedModel(name="m", accuracy=None, outputs="logits", classes=3, references=0)
    with pytest.raises(TypeError, match="AuditFacts come with a Finding, not Outcome"):
        assemble(Outcome(Status.PASS, "", ()), AuditFacts(model, 1, "", ()))  # type: ignore[call-overload]


# JSON holds no half of a surrogate pair, so no release has a field with such a name.
@given(document=EVERY, name=TEXT.filter(str.isprintable).map("later {}".format))
@MANY
def test_readers_ignore_fields_of_later_releases(document: Any, name: str) -> None:
    written = document.to_json()
    # In any object whose keys are fixed: beside a field that every such part has.
    for found in objects(written):
        if {"name", "status"} <= found.keys() or "kind" in found:
            found[name] = {"more": [1]}
    assert read_document(written) == document


@given(document=EVERY, data=st.data())
@MANY
def test_damaged_documents_are_refused_or_read_and_never_crash(
    document: Any, data: st.DataObject
) -> None:
    written = document.to_json()
    place = data.draw(st.sampled_from(objects(written)))
    if place:
        place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)
    try:
        read_document(written)
    except DataError as error:
        assert str(error)  # noqa: PT017 - what else may happen is the point


@given(document=EVERY, data=st.data())
@MANY
def test_a_missing_field_is_named(document: Any, data: st.DataObject) -> None:
    written = document.to_json()
    required = [n for n, f in type(document).model_fields.items() if f.is_required()]
    name = data.draw(st.sampled_from(sorted({*required} - {"schema_version", "kind"})))
    del written[name]
    assert name in complaint(written)
    with pytest.raises(DataError, match=f"^{name}: "):
        read_document(written)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": SCHEMA_VERSION + 1}, "schema_version: 2; this release reads 1"),
        ({"schema_version": None}, "schema_version: None"),
        ({"kind": "exprot"}, "did you mean 'export'"),
        ({"kind": 7}, "kind: 7"),
    ],
)
@given(document=documents("export"))
@settings(max_examples=1)
def test_other_versions_and_kinds_are_refused(
    changes: dict[str, Any], message: str, document: ExportVerdict
) -> None:
    with pytest.raises(DataError, match=message):
        read_document(document.to_json() | changes)


def test_only_verdicts_on_models_are_read_as_such(tmp_path: Any) -> None:
    path = tmp_path / "verdict.json"
    for content, message in (
        ("[1]", "expected a JSON object, found list"),
        ("{", "not readable as JSON"),
        ('{"schema_version": 1, "kind": "runs", "reference": null, "rows": []}', "kind 'runs'"),
        ("[" * 100_000, "verdict.json: not a verdict"),
    ):
        path.write_text(content)
        with pytest.raises(RunFolderError, match=message):
            read_verdict(path)


# What must be noticed: the tests above would be worth nothing if these passed.


@given(document=documents("audit"))
@settings(max_examples=5)
@pytest.mark.parametrize(
    "breach",
    [
        {"surprise": 1},
        {"verdict": "MAYBE"},
        {"looks": "2"},
        {"level": None},
        {"checks": [{"name": "half a check"}]},
        {"exposed": None},
        {"newly_exposed": None},
    ],
    ids=str,
)
def test_the_schema_notices_a_breach(document: AuditVerdict, breach: dict[str, Any]) -> None:
    assert complaint(document.to_json() | breach)


@given(document=documents("audit"))
@settings(max_examples=1)
def test_every_document_that_a_test_makes_is_held_against_the_schema(
    document: AuditVerdict,
) -> None:
    class Wider(AuditVerdict):
        """A document with a field that the committed schema does not have."""

        surprise: int

    with pytest.raises(AssertionError, match=r"Wider against verdict\.schema\.json: .*surprise"):
        Wider(**dict(document), surprise=1)


def test_a_check_without_an_estimate_has_no_figure() -> None:
    entry = CheckEntry.of(CheckResult("c", Status.NOT_RUN, False, "≤ 1", None, 0.123456, "why"))
    assert entry.to_json() == {
        "name": "c",
        "status": "NOT_RUN",
        "critical": False,
        "value": None,
        "low": None,
        "high": None,
        "n_members": 0,
        "n_nonmembers": 0,
        "knowledge": "none",
        "condition": "≤ 1",
        "seconds": 0.1235,
        "message": "why",
        "decided": True,
        "attack": "",
        "advice": "",
        "leak": False,
        "rates": {},
    }
