"""How much a site is trusted with at once."""

from bulkmail.policy.window import Window


def test_a_window_doubles_each_round_trip_up_to_its_limit() -> None:
    window = Window(8)
    assert window.wants_chunks
    sizes = [window.size]
    for _ in range(4):
        window.grow(window.size)
        sizes.append(window.size)
    assert sizes == [1, 2, 4, 8, 8]


def test_an_anomaly_ends_it_for_good_and_is_told_once() -> None:
    told: list[str] = []
    window = Window(8, size=4)
    window.on_anomaly = told.append
    window.distrust("first")
    window.distrust("second")
    window.grow(5)
    assert (window.size, window.wants_chunks, window.anomaly, told) == (1, False, "first", ["first"])


def test_what_an_earlier_run_has_learned_holds() -> None:
    window = Window(8, size=8, anomaly="closed in the middle")
    assert (window.size, window.wants_chunks) == (1, False)


def test_a_window_of_one_is_no_window_and_suspects_nobody() -> None:
    window = Window()
    window.distrust("anything")
    assert (window.wants_chunks, window.anomaly) == (False, "")
