"""`report --tls`: counts for people, and reports of RFC 8460."""

import json

from bulkmail.store.assurance import TlsMemory, TlsSessions
from tests.cli.conftest import Call, Folder

POLICY = "version: STSv1\nmode: enforce\nmx: *.shop.example"
DAY = "2027-03-01"


def fill(folder: Folder) -> None:
    folder.state.mkdir()
    memory = TlsMemory.open(folder.state)
    sessions = [
        TlsSessions(day=DAY, domain="shop.example", policy_type="sts", policy=POLICY, sessions=40),
        TlsSessions(
            day=DAY,
            domain="shop.example",
            policy_type="sts",
            policy=POLICY,
            result="certificate-expired",
            host="mx.shop.example",
            source="192.0.2.10",
            reason="certificate has expired",
            sessions=2,
        ),
        TlsSessions(day=DAY, domain="safe.example", policy_type="tlsa", policy="3 1 1 ab\n3 1 1 cd", sessions=7),
        TlsSessions(day="2027-03-02", domain="shop.example", policy_type="sts", policy=POLICY, sessions=1),
    ]
    memory.add(sessions)
    memory.add(sessions[:1])
    memory.close()
    other = TlsMemory.open(folder.state, "sandbox")
    other.add([TlsSessions(day=DAY, domain="sand.example", policy_type="sts", policy=POLICY)])
    other.close()


def test_a_person_sees_results_by_domain(folder: Folder, call: Call) -> None:
    fill(folder)
    text = call("report", str(folder.file), "--tls").stdout
    assert [line.split() for line in text.splitlines()[1:]] == [
        [DAY, "safe.example", "DANE", "proved", "7"],
        [DAY, "shop.example", "MTA-STS", "proved", "80"],
        [DAY, "shop.example", "MTA-STS", "certificate-expired", "2"],
        ["2027-03-02", "shop.example", "MTA-STS", "proved", "1"],
    ]


def test_the_reports_have_the_form_of_the_standard(folder: Folder, call: Call) -> None:
    fill(folder)
    lines = call(
        "report", str(folder.file), "--tls", "--json", "--day", DAY, "--contact", "tls@acme.example"
    ).stdout.splitlines()
    safe, shop = map(json.loads, lines)
    assert shop == {
        "organization-name": "acme.example",
        "date-range": {"start-datetime": "2027-03-01T00:00:00Z", "end-datetime": "2027-03-02T00:00:00Z"},
        "contact-info": "tls@acme.example",
        "report-id": "2027-03-01-shop.example@acme.example",
        "policies": [
            {
                "policy": {
                    "policy-type": "sts",
                    "policy-string": POLICY.split("\n"),
                    "policy-domain": "shop.example",
                    "mx-host": ["*.shop.example"],
                },
                "summary": {"total-successful-session-count": 80, "total-failure-session-count": 2},
                "failure-details": [
                    {
                        "result-type": "certificate-expired",
                        "sending-mta-ip": "192.0.2.10",
                        "receiving-mx-hostname": "mx.shop.example",
                        "failed-session-count": 2,
                        "additional-information": "certificate has expired",
                    }
                ],
            }
        ],
    }
    assert safe["policies"][0]["policy"]["policy-string"] == ["3 1 1 ab", "3 1 1 cd"]


def test_a_day_without_sessions_and_a_day_that_is_none(folder: Folder, call: Call) -> None:
    fill(folder)
    assert "no sessions of 2020-01-01" in call("report", str(folder.file), "--tls", "--day", "2020-01-01").stdout
    wrong = call("report", str(folder.file), "--tls", "--day", "yesterday")
    assert wrong.exit_code == 2
    assert "2027-03-01" in wrong.stderr
