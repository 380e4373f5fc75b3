"""Where reports on TLS go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkmail.smtp.tlsrpt import MOST_TARGETS, ReportTarget, report_targets

URL = "https://reports.shop.example/tls"
MAIL = ReportTarget(uri="mailto:tls@shop.example", address="tls@shop.example")


@pytest.mark.parametrize(
    ("texts", "targets"),
    [
        (["v=TLSRPTv1;rua=mailto:tls@shop.example"], [MAIL]),
        ([f"v=TLSRPTv1; rua={URL} , mailto:tls@shop.example;"], [ReportTarget(uri=URL), MAIL]),
        (["v=TLSRPTv1; x=1; rua=mailto:tls@shop.example"], [MAIL]),
        (["something else", "v=TLSRPTv1; rua=mailto:tls@shop.example"], [MAIL]),
        (["v=TLSRPTv1; rua=mailto:tls@shop.example,mailto:tls@shop.example"], [MAIL]),
        (
            ["v=TLSRPTv1; rua=mailto:a%2Cb+c@shop.example?subject=x"],
            [],  # a comma needs quotes in an address
        ),
        (
            ["v=TLSRPTv1; rua=mailto:a%21b@shop.example"],
            [ReportTarget(uri="mailto:a%21b@shop.example", address="a!b@shop.example")],
        ),
        (["v=TLSRPTv1; rua=http://reports.shop.example/,ftp://a.example/,tls@shop.example"], []),
        (["v=TLSRPTv1; rua=https://user@reports.shop.example/,https:///x,https://a.example:99999/"], []),
        (["v=TLSRPTv1; rua=mailto:nobody,mailto:,mailto:%ff@shop.example"], []),
        (["v=TLSRPTv1;"], []),
        (["v=TLSRPTv2; rua=mailto:tls@shop.example"], []),
        (["v=TLSRPTv1; rua=mailto:tls@shop.example"] * 2, []),
        ([], []),
    ],
)
def test_targets_are_those_of_the_one_record(texts: list[str], targets: list[ReportTarget]) -> None:
    assert list(report_targets(texts)) == targets


def test_a_record_of_many_targets_has_some_of_them() -> None:
    many = ",".join(f"mailto:r{number}@shop.example" for number in range(100))
    assert len(report_targets([f"v=TLSRPTv1; rua={many}"])) == MOST_TARGETS


@given(st.text(max_size=80))
def test_whatever_a_record_says_its_targets_are_https_or_addresses(text: str) -> None:
    for target in report_targets([f"v=TLSRPTv1;rua={text}"]):
        assert target.uri.lower().startswith("https:") or "@" in target.address
