"""What a bounce costs to understand and judge: pytest benchmarks/test_feedback.py --benchmark-enable."""

import time

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bulkmail.feedback.understand import understand
from bulkmail.policy.feedback import judge_report
from tests.feedback.messages import ALL

pytestmark = pytest.mark.benchmark(timer=time.process_time)


@pytest.mark.parametrize("name", sorted(ALL))
def test_understand_and_judge(benchmark: BenchmarkFixture, name: str) -> None:
    data = ALL[name]
    benchmark.pedantic(lambda: judge_report(understand(data)), rounds=20, iterations=100)
