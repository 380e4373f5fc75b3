"""Our half of SASL against Dovecot's, asked over the socket by which Postfix and Exim ask it."""

import base64
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkmail.smtp.sasl import Credentials, choose

DOVECOT = shutil.which("dovecot") or "/usr/sbin/dovecot"
PASSWORD = "corréct hörse"

pytestmark = [
    pytest.mark.skipif(not os.access(DOVECOT, os.X_OK), reason="Dovecot is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="Dovecot's master process wants to be root"),
]

CONFIGURATION = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols =
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login cram-md5 scram-sha-256
default_login_user = nobody
default_internal_user = nobody
default_internal_group = nogroup
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/users
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home=/nowhere
}}
service auth {{
  unix_listener {folder}/auth {{
    mode = 0600
  }}
}}
"""


@pytest.fixture(scope="module")
def asked() -> Iterator[Path]:
    """The socket of a Dovecot of our own; in a folder with a short name, for that is all a socket's may be."""
    with tempfile.TemporaryDirectory(prefix="sasl", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "users").write_text(f"acme:{PASSWORD}\n", encoding="utf-8")
        (folder / "users").chmod(0o644)
        (folder / "dovecot.conf").write_text(CONFIGURATION.format(folder=folder))
        process = subprocess.Popen([DOVECOT, "-F", "-c", folder / "dovecot.conf"], stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 10
            while not (folder / "auth").exists():
                assert process.poll() is None and time.monotonic() < until, "Dovecot did not start"
                time.sleep(0.02)
            yield folder / "auth"
        finally:
            process.terminate()
            process.wait(10)


def says(path: Path, credentials: Credentials) -> str:
    """Dovecot's last word, OK or FAIL, after our mechanism and it have talked to each other."""
    mechanism = choose(credentials, [str(credentials.mechanism).upper()])
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(os.fspath(path))
        stream = connection.makefile("rwb")
        while not stream.readline().startswith(b"DONE"):
            pass
        stream.write(b"VERSION\t1\t2\nCPID\t%d\n" % os.getpid())
        begin = f"AUTH\t1\t{mechanism.name}\tservice=smtp\tsecured"
        initial = mechanism.initial
        if initial is not None:
            begin += f"\tresp={base64.b64encode(initial).decode()}"
        stream.write(begin.encode() + b"\n")
        stream.flush()
        while True:
            word, _, rest = stream.readline().decode().rstrip("\n").partition("\t")
            if word != "CONT":
                # SCRAM's last words come along with OK; an SMTP server makes a 334 of them.
                last = next((part[5:] for part in rest.split("\t") if part.startswith("resp=")), "")
                if last and not mechanism.complete:
                    mechanism.respond(base64.b64decode(last))
                return word if word != "OK" or mechanism.complete else "UNPROVED"
            response = mechanism.respond(base64.b64decode(rest.partition("\t")[2]))
            stream.write(b"CONT\t1\t" + base64.b64encode(response) + b"\n")
            stream.flush()


@pytest.mark.parametrize("mechanism", ["scram-sha-256", "cram-md5", "plain", "login"])
def test_dovecot_lets_us_in_by_every_mechanism_that_it_shares_with_us(asked: Path, mechanism: str) -> None:
    assert says(asked, Credentials("acme", PASSWORD, mechanism=mechanism)) == "OK"


def test_dovecot_knows_a_wrong_password(asked: Path) -> None:
    assert says(asked, Credentials("acme", "another", mechanism="scram-sha-256")) == "FAIL"
