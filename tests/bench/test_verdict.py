"""What binds is what a send would wait for: keys, the loop, the disk or the limits."""

import pytest

from bulkmail.bench.composing import INSTALL, Composing
from bulkmail.bench.disk import Disk
from bulkmail.bench.lanes import Lanes, SiteTime
from bulkmail.bench.verdict import Verdict, judge
from bulkmail.bench.whole import Sending

NOT_INSTALLED = f"not installed: `{INSTALL}`"
DISK = Disk(folder="/", sync_ms=1.0, slowest_sync_ms=9.0, records_per_second=1e6)
SENDING = Sending(
    messages=1000,
    per_second=10_000.0,
    stages={"intake": 1.0, "composing": 8.0, "signing": 0.0, "loop": 30.0, "recording": 3.0, "store": 2.0, "rest": 1.0},
    loop_us=30.0,
    receiver_us=20.0,
)


def composed(rsa_turbo_us: float | None, why: str = NOT_INSTALLED) -> list[Composing]:
    def made(key: str, signing: float, turbo: bool = False) -> Composing:
        return Composing(key=key, turbo=turbo, composing_us=10.0, signing_us=signing, per_second=1e6 / (10.0 + signing))

    turbo = (
        made("rsa-2048", rsa_turbo_us, turbo=True)
        if rsa_turbo_us is not None
        else Composing(key="rsa-2048", turbo=True, unavailable=why)
    )
    return [made("unsigned", 0.1), made("rsa-2048", 240.0), turbo, made("ed25519", 40.0)]


def lanes(recipients: int, seconds: float) -> Lanes:
    slow = SiteTime(site="gmail.com", recipients=recipients, per_second=1.0, seconds=seconds, limit="1 messages/s")
    return Lanes(recipients=recipients, whole=True, sites=[slow], unknown=0, names=None)


def verdict(
    key: str = "rsa-2048", turbo_us: float | None = None, threads: int = 1, cores: int = 4, **changes: object
) -> Verdict:
    given = {"composed": composed(turbo_us), "sending": SENDING, "disk": DISK, "lanes": None} | changes
    return judge(key, threads=threads, cores=cores, **given)  # type: ignore[arg-type]


def test_rsa_one_by_one_is_bound_by_signing_and_told_what_to_install() -> None:
    found = verdict()
    assert (found.binds, round(found.per_second)) == ("signing", 4000)
    assert found.sentence == (
        "signing binds: 4,000 messages/s; with `pip install bulkmail[turbo]`, where the CPU has AVX-512 IFMA, about "
        "2.7 times as many"
    )
    assert found.loop_share == pytest.approx(4000 * 30e-6) and not found.second_process


def test_a_cpu_that_cannot_is_not_told_to_install_anything() -> None:
    found = verdict(composed=composed(None, "this CPU lacks AVX-512 IFMA"))
    assert found.sentence.endswith("eight at once is not to be had here (this CPU lacks AVX-512 IFMA)")


def test_eight_at_once_is_what_a_send_would_use() -> None:
    found = verdict(turbo_us=90.0)
    assert (found.binds, round(found.per_second)) == ("signing", 10_000)
    assert found.sentence == "signing binds: 10,000 messages/s, eight at once"


def test_more_threads_than_cores_do_not_sign_more() -> None:
    found = verdict(threads=8, cores=2)
    # 250 us of composing and signing, and 37 us of everything else.
    assert found.binds == "signing" and found.per_second == pytest.approx(2e6 / 287)


def test_unsigned_mail_is_bound_by_the_loop_and_a_second_process_pays() -> None:
    found = verdict(key="unsigned")
    assert found.binds == "the event loop"
    assert found.sentence.startswith("the event loop binds: ")
    assert found.loop_share == pytest.approx(1.0) and found.second_process
    assert found.second_node == pytest.approx(2.0)


def test_a_second_node_pays_for_nobody_without_a_core_for_it() -> None:
    # The loop has 40 us of a message's 48; what passing it on costs is more than the other core's eighth.
    assert not verdict(key="unsigned", cores=1).second_process
    two = verdict(key="unsigned", cores=2)
    assert two.second_process and two.second_node == pytest.approx(2 * 40.1 / (10.1 + 37 + 12), rel=0.01)


def test_where_threads_would_bring_as_much_a_second_node_does_not_pay() -> None:
    assert not verdict(threads=1, cores=2).second_process
    assert not verdict(turbo_us=90.0, threads=1, cores=2).second_process


def test_a_disk_that_takes_few_records_binds() -> None:
    slow = Disk(folder="/", sync_ms=100.0, slowest_sync_ms=900.0, records_per_second=500.0)
    assert verdict(disk=slow).sentence == "the disk binds: 250 messages/s"


def test_limits_bind_where_a_site_takes_longer_than_the_whole_list_would() -> None:
    found = verdict(lanes=lanes(7800, 7800.0))
    assert found.sentence == "the limits bind: gmail.com takes 2 h 10 min"
    assert found.seconds == 7800.0
    assert found.loop_share == pytest.approx(30e-6) and not found.second_process
    quick = verdict(lanes=lanes(8000, 1.0))
    assert quick.binds == "signing" and quick.seconds == pytest.approx(2.0)
