"""The benchmark of tarpits measures: what it sends comes, and what is kept waiting is."""

from benchmarks.tarpits import run_once


def test_a_run_beside_tarpits_counts_the_fast_ones_alone() -> None:
    measured = run_once(fast=4, tarpits=4, each=3)
    assert measured["per_second"] > 0
    assert measured["tarpits_at_once"] == 4
