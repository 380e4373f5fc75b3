"""What a plain send loads: not what others need. Each of these would come back by one import at the top of a file."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.workload import write_campaign

ROOT = Path(__file__).parents[1]

# Of a send of one unsigned message over loopback; with what it costs (CPU ms, measured alone) and what it is for.
NEEDLESS = {
    "aiohttp": "80: MTA-STS policies that are announced, webhooks",
    "cryptography": "30: DKIM keys, DANE, channel binding",
    "dns.message": "25: answers that are not plain",
    "pydantic": "65: newer releases of Typer, which pyproject.toml keeps out",
    "sysconfig": "3: time zones",
    "babel": "4: dates, numbers and money by locale",
    "zipfile": "4: packages that read data files through importlib.resources or importlib.metadata",
    "email.parser": "4: looking into a message, as preview does",
    "sqlalchemy": "lists from databases",
    "pyarrow": "lists as Parquet",
    "css_inline": "content.inline_css",
    "mrml": "content.mjml",
    "aiosmtplib": "doctor's probes",
    "aiosmtpd": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
    "imapclient": "bounces fetch",
    "dkim": "check, doctor",
    "bulkmail.sandbox.sandbox": "40, with its grammar: the sandbox, which runs in a process of its own",
    "bulkmail.feedback.understand": "20: what came back",
    "bulkmail.doctor": "doctor",
    "bulkmail.serve": "serve",
    "bulkmail.simulation": "send --simulate",
    "bulkmail.preflight.samples": "check",
}
# Of extras, or of no use to us.
OPTIONAL = {"pydantic", "sqlalchemy", "pyarrow", "css_inline", "mrml"}
LIBRARY = "import sys, bulkmail; bulkmail.send(sys.argv[1], state=sys.argv[2])"
COMMAND = (
    "import sys; from bulkmail.cli.main import main\n"
    "sys.argv = ['bulkmail', 'send', sys.argv[1], '--state', sys.argv[2]]\n"
    "try: main()\n"
    "except SystemExit as ended: assert not ended.code, ended.code"
)
SAY = "\nprint('\\n'.join(sys.modules), file=sys.stderr)"


@pytest.fixture(scope="module")
def receiver() -> Iterator[dict[str, object]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bulkmail.bench.receiver"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdin is not None and process.stdout is not None
    yield json.loads(process.stdout.readline())
    process.stdin.close()
    counted = json.loads(process.stdout.readline())
    process.stdout.close()
    assert process.wait(timeout=10) == 0 and counted["messages"] == 2


@pytest.mark.parametrize("code", [LIBRARY, COMMAND], ids=["library", "command"])
def test_a_plain_send_loads_nothing_that_it_does_not_use(
    code: str, receiver: dict[str, object], tmp_path: Path
) -> None:
    campaign = write_campaign(tmp_path, recipients=1, sink=receiver, signing=None)
    sent = subprocess.run(
        [sys.executable, "-c", code + SAY, str(campaign), str(tmp_path / "state")],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert sent.returncode == 0, sent.stderr
    loaded = set(sent.stderr.split())
    assert "bulkmail.engine.node" in loaded
    assert not {name: NEEDLESS[name] for name in sorted(loaded & NEEDLESS.keys())}


def test_what_is_called_needless_is_spelled_as_it_is_imported() -> None:
    """Or the test above would look for what nobody loads."""
    assert not [name for name in NEEDLESS.keys() - OPTIONAL if find_spec(name) is None]
