import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkmail.store.store import Store
from bulkmail.store.suppressions import Suppression, Suppressions


def suppression(key: str, scope: str = "all", reason: str = "unsubscribed") -> Suppression:
    return Suppression(scope=scope, key=key, address=key.upper(), reason=reason, source="import", time=1.5)


@pytest.fixture
def suppressions(tmp_path: Path) -> Iterator[Suppressions]:
    with closing(Suppressions.open(tmp_path / "state")) as opened:
        yield opened


@pytest.fixture
def others(tmp_path: Path, suppressions: Suppressions) -> Iterator[Suppressions]:
    """The same directory, as another process sees it."""
    with closing(Suppressions.open(tmp_path / "state")) as opened:
        yield opened


def test_an_address_is_suppressed_for_all_or_for_its_list(suppressions: Suppressions) -> None:
    assert suppressions.add(suppression("a@x.example"))
    assert suppressions.add(suppression("b@x.example", "news"))
    asked = [("a@x.example", None), ("a@x.example", "news"), ("b@x.example", "news"), ("b@x.example", "offers"),
             ("b@x.example", None), ("c@x.example", "news")]  # fmt: skip
    expected = [True, True, True, False, False, False]
    assert [suppressions.contains(*one) for one in asked] == expected
    assert [suppressions.check(*one) is not None for one in asked] == expected


def test_check_tells_all_that_is_known(suppressions: Suppressions) -> None:
    one = suppression("a@x.example", "news", "complaint")
    suppressions.add(one)
    assert suppressions.check("a@x.example", "news") == one


def test_adding_twice_keeps_the_first(suppressions: Suppressions) -> None:
    assert suppressions.add(suppression("a@x.example", reason="bounced"))
    assert not suppressions.add(suppression("a@x.example", reason="complaint"))
    found = suppressions.check("a@x.example")
    assert found is not None
    assert found.reason == "bounced"
    assert len(suppressions) == 1


def test_an_import_is_idempotent_and_counts_what_is_new(suppressions: Suppressions) -> None:
    many = [suppression(f"{n % 15_000}@x.example") for n in range(25_000)]
    assert suppressions.add_many(iter(many)) == 15_000
    assert suppressions.add_many(many) == 0
    assert list(suppressions.export()) == many[:15_000]
    assert suppressions.contains("14999@x.example")


def test_what_is_removed_may_be_mailed_and_suppressed_again(suppressions: Suppressions) -> None:
    suppressions.add(suppression("a@x.example"))
    suppressions.add(suppression("a@x.example", "news"))
    assert suppressions.contains("a@x.example")
    assert suppressions.remove("a@x.example")
    assert not suppressions.remove("a@x.example")
    assert not suppressions.contains("a@x.example")
    assert suppressions.contains("a@x.example", "news")
    assert suppressions.add(suppression("a@x.example"))
    assert suppressions.contains("a@x.example")


def test_changes_of_others_are_seen_after_refresh(suppressions: Suppressions, others: Suppressions) -> None:
    assert not suppressions.contains("a@x.example")
    suppressions.refresh()
    others.add(suppression("a@x.example"))
    others.add(suppression("b@x.example"))
    others.remove("b@x.example")
    assert suppressions.refresh()
    assert suppressions.contains("a@x.example")
    assert not suppressions.contains("b@x.example")
    assert not suppressions.refresh()
    others.remove("a@x.example")
    assert suppressions.refresh()
    assert not suppressions.contains("a@x.example")
    others.add(suppression("a@x.example"))
    assert suppressions.refresh()
    assert suppressions.contains("a@x.example")


def test_the_newest_entry_removed_does_not_hide_the_next(suppressions: Suppressions, others: Suppressions) -> None:
    others.add(suppression("a@x.example"))
    assert suppressions.contains("a@x.example")
    others.remove("a@x.example")
    others.add(suppression("b@x.example"))
    assert suppressions.refresh()
    assert suppressions.contains("b@x.example")


def test_other_writes_to_the_queue_are_no_change(tmp_path: Path, suppressions: Suppressions, store: Store) -> None:
    suppressions.refresh()
    store.create_run("c", "", "", b"")
    assert not suppressions.refresh()


def test_a_look_up_asks_memory_alone(suppressions: Suppressions) -> None:
    suppressions.add_many([suppression("a@x.example"), suppression("b@x.example")])
    suppressions.contains("")
    statements: list[str] = []
    suppressions._database.connection.set_trace_callback(statements.append)
    assert not suppressions.contains("c@x.example", "news")
    assert statements == []
    assert suppressions.contains("b@x.example")
    assert statements == []
    suppressions.remove("b@x.example")
    statements.clear()
    assert not suppressions.contains("b@x.example")
    assert statements == []


def test_keys_and_lists_do_not_run_into_each_other(suppressions: Suppressions) -> None:
    suppressions.add(suppression("a@x", "one"))
    assert not suppressions.contains("ea@x", "on")
    assert not suppressions.contains("one\0a@x", "")


steps = st.lists(st.tuples(st.sampled_from("ar"), st.sampled_from("uvw"), st.sampled_from(["all", "n"]), st.booleans()))


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_memory_and_tables_agree_after_any_changes(suppressions: Suppressions, others: Suppressions, changes) -> None:
    for name in "uvw":
        for scope in ("all", "n"):
            suppressions.remove(name, scope)
    model = set()
    for kind, key, scope, mine in changes:
        changer = suppressions if mine else others
        if kind == "a":
            assert changer.add(suppression(key, scope)) == ((key, scope) not in model)
            model.add((key, scope))
        else:
            assert changer.remove(key, scope) == ((key, scope) in model)
            model.discard((key, scope))
        suppressions.refresh()
        for name in "uvw":
            expected = (name, "all") in model or (name, "n") in model
            assert suppressions.contains(name, "n") == expected
            assert suppressions.contains(name) == ((name, "all") in model)
    assert {(one.key, one.scope) for one in suppressions.export()} == model


ADD = """
import sys
from pathlib import Path
from bulkmail.store.suppressions import Suppression, Suppressions

with Suppressions.open(Path(sys.argv[1])) as suppressions:
    for n in range(50):
        one = Suppression(key=f"{sys.argv[2]}{n}@x", address="", reason="", source="", time=0.0)
        assert suppressions.add(one)
"""


def test_processes_add_at_the_same_time_while_a_run_is_sent(tmp_path: Path, store: Store, new_chunk, run_of) -> None:
    path = tmp_path / "state"
    with closing(Suppressions.open(path)) as suppressions:
        assert not suppressions.contains("a0@x")
        writers = [subprocess.Popen([sys.executable, "-c", ADD, str(path), name]) for name in "ab"]
        while any(writer.poll() is None for writer in writers):
            run_of(store, new_chunk(3))
        assert [writer.returncode for writer in writers] == [0, 0]
        assert suppressions.refresh()
        assert all(suppressions.contains(f"{name}{n}@x") for name in "ab" for n in range(50))
