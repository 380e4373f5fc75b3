"""A Dovecot of our own with IMAP and POP3 over TLS on free ports of loopback."""

import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

PROGRAM = shutil.which("dovecot") or "/usr/sbin/dovecot"
USER, PASSWORD = "bounces", "corréct hörse"
CONFIGURATION = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap pop3
ssl = required
ssl_cert = <{certificate}
ssl_key = <{key}
auth_mechanisms = plain login
auth_failure_delay = 0
default_login_user = nobody
default_internal_user = nobody
default_internal_group = nogroup
first_valid_uid = 65534
first_valid_gid = 65534
mail_location = maildir:{folder}/mail
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/users
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={folder}/home
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    address = 127.0.0.1
    port = {imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = 0
  }}
  inet_listener pop3s {{
    address = 127.0.0.1
    port = {pop3s}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


def missing() -> str:
    """Why there can be no Dovecot here; "" where there can."""
    if not os.access(PROGRAM, os.X_OK):
        return "Dovecot is not installed (apt-get install dovecot-imapd dovecot-pop3d)"
    if not Path("/usr/lib/dovecot/pop3-login").exists():
        return "Dovecot's POP3 server is not installed (apt-get install dovecot-pop3d)"
    return "" if os.geteuid() == 0 else "Dovecot's master process wants to be root"


class Dovecot(Struct):
    """One that runs; `deliver` puts a message into its mailbox."""

    folder: Path
    imaps: int
    pop3s: int

    def deliver(self, *messages: bytes) -> None:
        inbox = self.folder / "mail" / "new"
        for number, data in enumerate(messages):
            name = f"{time.time_ns()}.{number}.test"
            draft = self.folder / "mail" / "tmp" / name
            draft.write_bytes(data)
            os.chown(draft, 65534, 65534)
            draft.rename(inbox / name)

    def left(self, folder: str = "") -> int:
        where = self.folder / "mail" / folder
        return sum(len(list((where / name).iterdir())) for name in ("new", "cur") if (where / name).exists())


@contextmanager
def running(certificate: str, key: str) -> Iterator[Dovecot]:
    with tempfile.TemporaryDirectory(prefix="dove", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "users").write_text(f"{USER}:{PASSWORD}\n", encoding="utf-8")
        (folder / "users").chmod(0o644)
        for made in ("home", "mail", "mail/new", "mail/cur", "mail/tmp"):
            (folder / made).mkdir()
            os.chown(folder / made, 65534, 65534)
        made = Dovecot(folder, _free_port(), _free_port())
        (folder / "dovecot.conf").write_text(
            CONFIGURATION.format(folder=folder, certificate=certificate, key=key, imaps=made.imaps, pop3s=made.pop3s)
        )
        process = subprocess.Popen([PROGRAM, "-F", "-c", folder / "dovecot.conf"], stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 10
            while not (_answers(made.imaps) and _answers(made.pop3s)):
                log = (folder / "log").read_text() if (folder / "log").exists() else ""
                assert process.poll() is None and time.monotonic() < until, f"Dovecot did not start: {log}"
                time.sleep(0.02)
            yield made
        finally:
            process.terminate()
            process.wait(10)


def _free_port() -> int:
    """Below those that the system gives to clients: one that asks whether it answers must not get it itself."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
