"""MTA-STS policies and TLS counts in queue.db: over restarts, by network, and not for ever."""

from pathlib import Path

from bulkmail.smtp.sts import StsPolicy
from bulkmail.store.assurance import KeptPolicy, TlsMemory, TlsSessions, read_tls_sessions

NOW = 1_800_000_000.0  # 2027-01-15
DAY = 86400.0


def kept(domain: str, expires: float, mode: str = "enforce") -> KeptPolicy:
    policy = StsPolicy(mode=mode, mx=("*.a.example", "b.example"), max_age_seconds=100)  # type: ignore[arg-type]
    return KeptPolicy(domain=domain, id="1", policy=policy, fetched=NOW, expires=expires)


def sessions(day: str, number: int = 1, **changes: str) -> TlsSessions:
    return TlsSessions(day=day, domain="a.example", policy_type="sts", policy="p", sessions=number, **changes)


def test_a_policy_is_there_for_the_next_owner_until_it_expires(tmp_path: Path) -> None:
    memory = TlsMemory.open(tmp_path)
    memory.keep(kept("a.example", NOW + DAY))
    memory.keep(kept("b.example", NOW + 9 * DAY, "none"))
    memory.keep(kept("b.example", NOW + 9 * DAY))
    memory.close()
    memory = TlsMemory.open(tmp_path)
    assert memory.policies(NOW) == [kept("a.example", NOW + DAY), kept("b.example", NOW + 9 * DAY)]
    assert memory.policies(NOW + 2 * DAY) == [kept("b.example", NOW + 9 * DAY)]
    memory.prune(NOW + 2 * DAY)
    assert memory.policies(NOW) == [kept("b.example", NOW + 9 * DAY)]
    memory.close()


def test_counts_add_up_by_day_policy_and_result(tmp_path: Path) -> None:
    memory = TlsMemory.open(tmp_path)
    memory.add([sessions("2027-01-14", 3), sessions("2027-01-14", 1, result="validation-failure", host="mx")])
    memory.add([sessions("2027-01-14", 4), sessions("2027-01-15")])
    memory.close()
    other = TlsMemory.open(tmp_path, "sandbox")
    other.add([sessions("2027-01-14", 100)])
    other.close()
    assert [(one.day, one.result, one.sessions) for one in read_tls_sessions(tmp_path)] == [
        ("2027-01-14", "", 7),
        ("2027-01-14", "validation-failure", 1),
        ("2027-01-15", "", 1),
    ]
    assert len(read_tls_sessions(tmp_path, "2027-01-15")) == 1


def test_counts_of_long_ago_are_dropped(tmp_path: Path) -> None:
    memory = TlsMemory.open(tmp_path)
    memory.add([sessions("2026-11-01"), sessions("2026-12-01")])
    memory.prune(NOW)
    memory.close()
    assert [one.day for one in read_tls_sessions(tmp_path)] == ["2026-12-01"]
