"""Real mail servers as receivers: Postfix, Exim and OpenSMTPD, each with a configuration and a queue of its own.

They run as root in a mount namespace of their own, where /etc/passwd has the users that they insist on and their fixed
paths are empty; nothing of the machine's own configuration is read or changed. All are ended by their pid.
"""

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec import Struct

from bulkmail.sandbox.certificate import make_certificate

# Where `make peers` unpacks the Debian packages that cannot be installed beside Postfix.
UNPACKED = Path(__file__).parents[2] / "build" / "peers"
DOMAIN = "peer.example"
HOST = "mx.peer.example"
_USERS = ("Debian-exim", "opensmtpd", "opensmtpq", "keeper")
_FIRST_ID = 61_000
_START_SECONDS = 20.0
_STOP_SECONDS = 20.0


class Peer(Struct, frozen=True):
    """A running server: where it listens, the log it writes, and what it has kept."""

    name: str
    address: str
    port: int
    log: Path
    maildir: Path

    def kept(self) -> list[bytes]:
        """The messages it delivered, as its Maildir has them."""
        return [path.read_bytes() for path in sorted((self.maildir / "new").iterdir())]

    def text(self) -> str:
        return self.log.read_text(errors="replace")


def root_alone() -> None:
    if os.geteuid() != 0:
        pytest.skip("the server is started by root alone")
    if shutil.which("unshare") is None:
        pytest.skip("unshare (util-linux) is not installed")


@contextmanager
def postfix(folder: Path, address: str, *, main: str = "") -> Iterator[Peer]:
    """Postfix with STARTTLS, keeping mail to r0, r1, ... of DOMAIN; `main` are more lines of main.cf."""
    root_alone()
    daemons = Path("/usr/lib/postfix/sbin")
    if not (daemons / "master").exists():
        pytest.skip("Postfix is not installed (make peers)")
    port = free_port(address)
    _prepare(folder, "etc", "queue", "data", "mail")
    log = folder / "mail.log"
    (folder / "users").write_text(f"/^r[0-9]+@{DOMAIN.replace('.', '[.]')}$/ kept/\n")
    (folder / "access").write_text("/^busy/ 450 4.2.0 mailbox is busy, try again later\n")
    (folder / "etc" / "main.cf").write_text(
        f"""compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
daemon_directory = {daemons}
command_directory = /usr/sbin
maillog_file = {log}
maillog_file_prefixes = {folder}
mail_owner = postfix
setgid_group = postdrop
myhostname = {HOST}
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
virtual_mailbox_domains = {DOMAIN}
virtual_mailbox_maps = regexp:{folder}/users
virtual_mailbox_base = {folder}/mail
virtual_uid_maps = static:{_id("keeper")}
virtual_gid_maps = static:{_id("keeper")}
smtpd_recipient_restrictions = check_recipient_access regexp:{folder}/access, reject_unauth_destination
smtpd_tls_security_level = may
smtpd_tls_cert_file = {folder}/certificate.pem
smtpd_tls_key_file = {folder}/key.pem
smtpd_tls_loglevel = 1
smtpd_peername_lookup = no
message_size_limit = 20000
{main}
"""
    )
    (folder / "etc" / "master.cf").write_text(
        f"{address}:{port} inet n - n - 50 smtpd\n"
        "cleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\nrewrite unix - - n - - trivial-rewrite\n"
        "bounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\n"
        "proxymap unix - - n - - proxymap\nsmtp unix - - n - - smtp\nerror unix - - n - - error\n"
        "retry unix - - n - - error\nvirtual unix - n n - - virtual\nanvil unix - - n - 1 anvil\n"
        "tlsmgr unix - - n 1000? 1 tlsmgr\nscache unix - - n - 1 scache\n"
        "postlog unix-dgram n - n - 1 postlogd\n"
    )
    os.chown(folder / "data", pwd.getpwnam("postfix").pw_uid, pwd.getpwnam("postfix").pw_gid)
    start = f"postfix -c {folder}/etc check && exec {daemons}/master -c {folder}/etc -d"
    with _running(folder, start, address, port, environment={"MAIL_CONFIG": f"{folder}/etc"}):
        yield Peer("postfix", address, port, log, folder / "mail" / "kept")


@contextmanager
def exim(folder: Path, address: str) -> Iterator[Peer]:
    """Exim with STARTTLS by GnuTLS, keeping mail to r0, r1, ... of DOMAIN."""
    root_alone()
    program = UNPACKED / "usr/sbin/exim4"
    if not program.exists():
        pytest.skip("Exim is not unpacked (make peers)")
    port = free_port(address)
    _prepare(folder, "spool", "mail")
    log = folder / "main.log"
    log.touch()
    for path in (folder / "spool", folder / "mail", log, folder / "key.pem", folder):
        os.chown(path, _id("Debian-exim"), _id("Debian-exim"))
    (folder / "exim.conf").write_text(
        f"""primary_hostname = {HOST}
exim_path = {program}
keep_environment =
exim_user = Debian-exim
exim_group = Debian-exim
spool_directory = {folder}/spool
log_file_path = {folder}/%s.log
daemon_smtp_ports = {port}
local_interfaces = {address}
pid_file_path = {folder}/exim.pid
domainlist kept = {DOMAIN}
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 50
smtp_accept_max_per_host = 50
smtp_accept_queue_per_connection = 0
message_size_limit = 20000
tls_advertise_hosts = *
tls_certificate = {folder}/certificate.pem
tls_privatekey = {folder}/key.pem
log_selector = +tls_cipher +smtp_confirmation
acl_smtp_rcpt = recipient
acl_smtp_data = accept
begin acl
recipient:
  defer  local_parts = ^busy
         message = mailbox is busy, try again later
  accept domains = +kept
         local_parts = ^r[0-9]+\\$
  deny   domains = +kept
         message = no such person here
  deny   message = relay not permitted
begin routers
keep:
  driver = accept
  domains = +kept
  transport = keep
begin transports
keep:
  driver = appendfile
  directory = {folder}/mail/kept
  maildir_format
  create_directory
  user = Debian-exim
  group = Debian-exim
  delivery_date_add
  envelope_to_add
  return_path_add
begin retry
* * F,1h,5m
begin rewrite
begin authenticators
"""
    )
    with _running(folder, f"exec {program} -C {folder}/exim.conf -bdf -q1h", address, port):
        yield Peer("exim", address, port, log, folder / "mail" / "kept")


@contextmanager
def opensmtpd(folder: Path, address: str) -> Iterator[Peer]:
    """OpenSMTPD, keeping mail to r0, r1, ... r99 of DOMAIN.

    Debian's build offers STARTTLS and then fails every TLS 1.3 handshake (it signs by a way that OpenSSL 3 has not):
    a server as one meets it.
    """
    root_alone()
    program = UNPACKED / "usr/sbin/smtpd"
    if not program.exists():
        pytest.skip("OpenSMTPD is not unpacked (make peers)")
    port = free_port(address)
    _prepare(folder, "mail")
    log = folder / "smtpd.log"
    names = ", ".join(f'"r{number}" = keeper' for number in range(100))
    (folder / "smtpd.conf").write_text(
        f"""pki {HOST} cert "{folder}/certificate.pem"
pki {HOST} key "{folder}/key.pem"
table names {{ {names} }}
smtp max-message-size 20000
listen on {address} port {port} tls pki {HOST} hostname {HOST}
action "keep" maildir "{folder}/mail/kept" virtual <names>
match from any for domain "{DOMAIN}" action "keep"
"""
    )
    start = (
        "mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/spool && mkdir -m 711 /var/spool/smtpd && "
        "mount -t tmpfs tmpfs /var/lib && mkdir -p /var/lib/opensmtpd/empty /run/opensmtpd/empty && "
        f"mount -t tmpfs tmpfs /usr/libexec && cp -r {UNPACKED}/usr/libexec/opensmtpd /usr/libexec/ && "
        f"exec {program} -d -f {folder}/smtpd.conf"
    )
    with _running(folder, start, address, port):
        yield Peer("opensmtpd", address, port, log, folder / "mail" / "kept")


def wait_for(there: Callable[[], bool], *, seconds: float = 30.0) -> None:
    """A server delivers after it has said yes; what it will have kept is waited for, not guessed."""
    until = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < until, "the server did not come to it"
        time.sleep(0.02)


def _id(user: str) -> int:
    return _FIRST_ID + _USERS.index(user)


def _prepare(folder: Path, *names: str) -> None:
    """The folders, a certificate, and the users that exist for this server alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for parent in (folder, *folder.parents):
        # pytest keeps its folders for their owner; the server's users have to get through.
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    for name in names:
        (folder / name).mkdir()
    os.chown(folder / "mail", _id("keeper"), _id("keeper"))
    certificate, key = make_certificate([HOST], now_seconds=time.time())
    (folder / "certificate.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(key)
    (folder / "key.pem").chmod(0o600)
    for name, form in (("passwd", "{user}:x:{id}:{id}::/nonexistent:/usr/sbin/nologin"), ("group", "{user}:x:{id}:")):
        own = [form.format(user=user, id=_id(user)) for user in _USERS]
        others = [line for line in Path("/etc", name).read_text().splitlines() if line.split(":")[0] not in _USERS]
        (folder / name).write_text("\n".join([*others, *own]) + "\n")


@contextmanager
def _running(
    folder: Path, start: str, address: str, port: int, environment: dict[str, str] | None = None
) -> Iterator[None]:
    script = f"mount --bind {folder}/passwd /etc/passwd && mount --bind {folder}/group /etc/group && {start}"
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        if not (folder / "smtpd.log").exists() and "smtpd.conf" in start:
            (folder / "smtpd.log").symlink_to(folder / "output")
        try:
            until = time.monotonic() + _START_SECONDS
            while not _listens(address, port):
                if process.poll() is not None:
                    said = (folder / "output").read_text(errors="replace")
                    if "unshare" in said or "mount:" in said:
                        pytest.skip(f"no mount namespace to be had here: {said.strip()}")
                    raise AssertionError(f"the server ended: {said}")
                assert time.monotonic() < until, (folder / "output").read_text(errors="replace")
                time.sleep(0.02)
            yield
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def free_port(address: str) -> int:
    with socket.create_server((address, 0)) as server:
        return int(server.getsockname()[1])
