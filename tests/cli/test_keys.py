import time

from bulkmail.content.identity import Identity
from bulkmail.store.database import Database
from bulkmail.store.directory import DATABASE
from bulkmail.store.keys import accept_seconds, read_keys
from tests.cli.conftest import Call
from tests.engine.test_feedback import ANNA, Sent


def test_a_rotated_key_signs_new_runs_and_the_old_tokens_open_still(tmp_path, call: Call) -> None:  # type: ignore[no-untyped-def]
    sent = Sent(tmp_path / "state", now=time.time())  # the command goes by the machine's clock
    token = sent.token(ANNA)
    try:
        assert "key 1 signs the runs that begin from now on" in call("keys", "rotate", "--state", sent.path).stdout
        listed = call("keys", "list", "--state", sent.path).stdout
        assert "key 0  since the directory was made" in listed and "signs new runs" in listed.splitlines()[1]
        database = Database(sent.path / DATABASE, readonly=True)
        keys = read_keys(database)
        assert Identity(keys).open(token) is not None
        assert Identity(keys).issuer(1, time.time()).tokens(sent.chunk, ANNA).returning != token
        call("keys", "rotate", "--forget-older", "--state", sent.path)
        assert Identity(read_keys(database)).open(token) is None
        database.close()
    finally:
        sent.store.close()


def test_how_long_tokens_are_accepted_is_said_in_units_of_time(tmp_path, call: Call) -> None:  # type: ignore[no-untyped-def]
    sent = Sent(tmp_path / "state", now=time.time())  # the command goes by the machine's clock
    sent.store.close()
    assert "30" in call("keys", "accept", "30d", "--state", sent.path).stdout
    database = Database(sent.path / DATABASE, readonly=True)
    assert accept_seconds(database) == 30 * 86400
    database.close()
    assert call("keys", "accept", "soon", "--state", sent.path).exit_code == 2
