"""Scopes, time limits, history, hashes, and the lists of other services, as a user of `bulkmail suppress` sees them."""

import json
from pathlib import Path

import pytest

from bulkmail.store.suppressions import Suppressions

SES = "EmailAddress,Reason,LastUpdateTime\nann@x.example,BOUNCE,2026-03-01T08:15:00Z\nbert@x.example,COMPLAINT,\n"
SES_BULK = "ann@x.example,BOUNCE\nbert@x.example, COMPLAINT\n"
SENDGRID_BOUNCES = "status,reason,email,created\n5.1.1,550 5.1.1 no such user,ann@x.example,1700000000\n"
SENDGRID_UNSUBSCRIBES = "email,created\nann@x.example,1700000000\n"
SENDGRID_SPAM = "email,ip,created\nann@x.example,192.0.2.1,1700000000\n"
MAILGUN_BOUNCES = 'address,code,error,created_at\nann@x.example,550,"No such user","Fri, 21 Oct 2011 11:02:55 UTC"\n'
MAILGUN_UNSUBSCRIBES = (
    'address,tags,created_at\nann@x.example,*,2024-05-01 10:00:00 UTC\nbert@x.example,"news,offers",2024-05-01\n'
)
MAILGUN_COMPLAINTS = "address,created_at\nann@x.example,2024-05-01T10:00:00Z\n"
POSTMARK = (
    "EmailAddress,SuppressionReason,Origin,CreatedAt\nann@x.example,HardBounce,Recipient,2019-12-17T08:58:33-05:00\n"
    "bert@x.example,ManualSuppression,Recipient,2019-12-17T08:58:33-05:00\n"
    "carl@x.example,SpamComplaint,Recipient,2019-12-17T08:58:33-05:00\n"
    "dora@x.example,ManualSuppression,Customer,2019-12-17T08:58:33-05:00\n"
)


@pytest.fixture
def state(tmp_path):
    (tmp_path / ".bulkmail").mkdir()
    return tmp_path / ".bulkmail"


def found(state: Path) -> dict[str, tuple[str, str]]:
    with Suppressions.open(state) as suppressions:
        return {f"{one.key} {one.scope}": (one.reason, one.source.split(",")[0]) for one in suppressions.export()}


@pytest.mark.parametrize(
    ("content", "service", "reasons"),
    [
        (SES, "Amazon SES", {"ann": "hard_bounce", "bert": "complaint"}),
        (SES_BULK, "Amazon SES", {"ann": "hard_bounce", "bert": "complaint"}),
        (SENDGRID_BOUNCES, "SendGrid", {"ann": "hard_bounce"}),
        (SENDGRID_UNSUBSCRIBES, "SendGrid", {"ann": "unsubscribed"}),
        (SENDGRID_SPAM, "SendGrid", {"ann": "complaint"}),
        (MAILGUN_BOUNCES, "Mailgun", {"ann": "hard_bounce"}),
        (MAILGUN_COMPLAINTS, "Mailgun", {"ann": "complaint"}),
        (POSTMARK, "Postmark",
         {"ann": "hard_bounce", "bert": "unsubscribed", "carl": "complaint", "dora": "manual"}),
    ],
)  # fmt: skip
def test_the_list_of_another_service_is_known_by_its_header(state, call, tmp_path, content, service, reasons) -> None:
    (tmp_path / "list.csv").write_text(content)
    result = call("suppress", "import", "list.csv")
    assert result.exit_code == 0, result.stderr
    assert found(state) == {f"{name}@x.example all": (reason, service) for name, reason in reasons.items()}


def test_a_tag_of_mailgun_is_a_list(state, call, tmp_path) -> None:
    (tmp_path / "list.csv").write_text(MAILGUN_UNSUBSCRIBES)
    assert call("suppress", "import", "list.csv").exit_code == 0
    assert sorted(found(state)) == ["ann@x.example all", "bert@x.example news", "bert@x.example offers"]


def test_times_of_other_services_are_kept(state, call, tmp_path) -> None:
    for content, time in ((SENDGRID_SPAM, 1700000000), (MAILGUN_BOUNCES, 1319194975), (POSTMARK, 1576591113)):
        (tmp_path / "list.csv").write_text(content)
        call("suppress", "remove", "ann@x.example")
        call("suppress", "import", "list.csv")
        with Suppressions.open(state) as suppressions:
            one = suppressions.check("ann@x.example")
            assert one is not None
            assert one.time == time


def test_an_error_in_a_list_of_another_service_has_its_line_and_adds_nothing(state, call, tmp_path) -> None:
    (tmp_path / "list.csv").write_text(POSTMARK + "nobody,HardBounce,Recipient,2019-12-17\n")
    result = call("suppress", "import", "list.csv")
    assert result.exit_code == 2
    assert "list.csv:6: nobody: no @" in result.stderr
    assert found(state) == {}


def test_a_domain_a_campaign_and_a_time_are_said_back(state, call) -> None:
    assert "@x.example: suppressed" in call("suppress", "add", "@x.example").stdout
    assert "yes, suppressed for all mail" in call("suppress", "check", "ann@x.example").stdout
    assert "with all of x.example" in call("suppress", "check", "ann@x.example").stdout
    call("suppress", "add", "bert@y.example", "--campaign", "spring", "--for", "90d")
    assert "no, it is not" in call("suppress", "check", "bert@y.example").stdout
    said = call("suppress", "check", "bert@y.example", "--campaign", "spring").stdout
    assert "for the campaign spring" in said
    assert " until " in said


def test_what_is_for_a_time_survives_export_and_import(state, call, tmp_path) -> None:
    call("suppress", "add", "ann@x.example")
    assert call("suppress", "export").stdout.splitlines()[0] == "address,scope,reason,source,time"
    call("suppress", "add", "bert@x.example", "--for", "1d")
    exported = call("suppress", "export").stdout
    assert exported.splitlines()[0] == "address,scope,reason,source,time,expires"
    (tmp_path / "all.csv").write_text(exported)
    call("suppress", "remove", "ann@x.example", "bert@x.example")
    call("suppress", "import", "all.csv")
    assert call("suppress", "export").stdout == exported


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--for", "soon"], "--for: soon"),
        (["--campaign", "a b"], "'a b' is no name of a campaign"),
        (["--campaign", "a", "--list", "b"], "not both"),
        (["--list", "all"], "no name of a list"),
    ],
)
def test_a_slip_in_an_option_is_named_and_adds_nothing(state, call, arguments, said) -> None:
    result = call("suppress", "add", "ann@x.example", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert found(state) == {}


def test_the_history_of_an_address_is_told(state, call) -> None:
    call("suppress", "add", "ann@x.example", "--reason", "asked by phone")
    call("suppress", "remove", "ann@x.example")
    call("suppress", "add", "ann@x.example", "--list", "news")
    said = call("suppress", "show", "ann@x.example").stdout
    for words in ("suppressed for the list news", "suppressed: asked by phone", "taken off (it was: asked by phone)"):
        assert words in said
    told = json.loads(call("suppress", "show", "ann@x.example", "--json").stdout)
    assert [one["action"] for one in told["history"]] == ["added", "removed"]
    assert [one["scope"] for one in told["entries"]] == ["news"]
    assert "is not suppressed" in call("suppress", "show", "bert@x.example").stdout


def test_a_hashed_list_is_looked_up_imported_into_and_exported_as_hashes(state, call, tmp_path) -> None:
    call("suppress", "add", "ann@x.example")
    assert call("suppress", "hash").exit_code == 2
    assert "1 entries hashed" in call("suppress", "hash", "--yes").stdout
    assert "hashes already" in call("suppress", "hash", "--yes").stdout
    assert "yes, suppressed" in call("suppress", "check", "ANN@x.example").stdout
    exported = call("suppress", "export").stdout
    assert "hmac:" in exported
    assert "ann" not in exported
    (tmp_path / "all.csv").write_text(exported + "bert@x.example,all,old,me,2027-03-01T08:15:00Z\n")
    assert "2 addresses, 1 new" in call("suppress", "import", "all.csv").stdout
    assert "yes, suppressed" in call("suppress", "check", "bert@x.example").stdout


def test_hashes_of_another_directory_are_refused(state, call, tmp_path) -> None:
    (tmp_path / "all.csv").write_text("address\nhmac:0123456789abcdef0123456789abcdef\n")
    assert call("suppress", "import", "all.csv").exit_code == 2


def test_rows_of_separators_alone_are_passed_over(call, tmp_path: Path) -> None:
    (tmp_path / "theirs.csv").write_text("email,created\nann@x.example,1700000000\n,\n\nbert@x.example,\n")
    assert "2 new" in call("suppress", "import", tmp_path / "theirs.csv", "--state", tmp_path / "state").stdout
