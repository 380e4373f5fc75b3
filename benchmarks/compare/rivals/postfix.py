"""Postfix, and OpenDKIM as its milter, in a folder of their own: started on loopback, stopped, their CPU read."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.compare.figures import SenderFailed

DAEMONS = Path("/usr/lib/postfix/sbin")
_TICKS = os.sysconf("SC_CLK_TCK")

# The services that a message passes; those that its users raise for throughput are raised.
_MASTER = """\
127.0.0.1:{port} inet n - n - 100 smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - 100 smtp
relay unix - - n - 100 smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
maillog_file = {folder}/log/mail.log
maillog_file_prefixes = {folder}
mail_owner = postfix
setgid_group = postdrop
myhostname = mail1.sender.example
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
mynetworks = 127.0.0.0/8
relayhost = [{sink_host}]:{sink_port}
disable_dns_lookups = yes
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
smtp_tls_security_level = none
default_destination_concurrency_limit = {connections}
smtp_destination_concurrency_limit = {connections}
relay_destination_concurrency_limit = {connections}
initial_destination_concurrency = {connections}
default_process_limit = 200
qmgr_message_active_limit = 50000
in_flow_delay = 0
smtp_connection_cache_on_demand = yes
smtp_connection_cache_destinations = [{sink_host}]
smtp_connection_reuse_count_limit = 100000
smtp_connection_reuse_time_limit = 3600s
{milter}
"""
_OPENDKIM = """\
Mode s
Domain sender.example
Selector s1
KeyFile {folder}/key.pem
Canonicalization relaxed/relaxed
Socket local:{folder}/postfix/milter.sock
UMask 000
Syslog no
UserID root
RequireSafeKeys no
InternalHosts 127.0.0.0/8
"""


def missing(*, signed: bool) -> str | None:
    """What is not there, as a sentence; None where it can be run."""
    if not (DAEMONS / "master").exists() or shutil.which("postfix") is None:
        return "Postfix is not installed"
    if signed and shutil.which("opendkim") is None:
        return "OpenDKIM is not installed"
    if os.geteuid() != 0:
        return "Postfix is started by root alone"
    return None


class Instance:
    """A running Postfix; `port` takes mail, `cpu_seconds()` is what all its processes have used, the ended ones too."""

    def __init__(self, port: int, folder: Path, roots: list[int]) -> None:
        self.port = port
        self._folder = folder
        self._roots = roots

    def cpu_seconds(self) -> float:
        return sum(_tree_ticks(root) for root in self._roots) / _TICKS

    def peak_kib(self) -> int:
        """That of the biggest process."""
        return max((_peak_kib(pid) for root in self._roots for pid in _descendants(root)), default=0)

    def queued(self) -> int:
        """Messages that it has accepted and not delivered."""
        return sum(
            len(files)
            for name in ("maildrop", "incoming", "active", "deferred")
            for _, _, files in os.walk(self._folder / "queue" / name)
        )


@contextmanager
def running(folder: Path, *, port: int, sink: tuple[str, int], connections: int, signed: bool) -> Iterator[Instance]:
    """Postfix that relays all it takes to the sink; `signed` by OpenDKIM with FOLDER/key.pem."""
    root = folder / "postfix"
    for name in ("etc", "queue", "data", "log"):
        (root / name).mkdir(parents=True)
    for parent in (folder, root):
        parent.chmod(0o755)
    owner = pwd.getpwnam("postfix")
    os.chown(root / "data", owner.pw_uid, owner.pw_gid)
    milter = f"smtpd_milters = unix:{root}/milter.sock\nmilter_default_action = tempfail" if signed else ""
    (root / "etc" / "main.cf").write_text(
        _MAIN.format(folder=root, sink_host=sink[0], sink_port=sink[1], connections=connections, milter=milter)
    )
    (root / "etc" / "master.cf").write_text(_MASTER.format(port=port))
    processes: list[subprocess.Popen[bytes]] = []
    try:
        if signed:
            (root / "opendkim.conf").write_text(_OPENDKIM.format(folder=folder))
            processes.append(subprocess.Popen(["opendkim", "-f", "-x", str(root / "opendkim.conf")]))
            _await((root / "milter.sock").exists)
        subprocess.run(
            ["postfix", "-c", str(root / "etc"), "check"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        processes.append(
            subprocess.Popen(
                [DAEMONS / "master", "-c", str(root / "etc"), "-d"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "MAIL_CONFIG": str(root / "etc")},
            )
        )
        _await(lambda: _answers(port))
        yield Instance(port, root, [process.pid for process in processes])
    finally:
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
            process.wait()


def _await(there: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not there():
        if time.monotonic() > until:
            raise SenderFailed("a program of the rival did not start")
        time.sleep(0.05)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _descendants(root: int) -> list[int]:
    found, left = [], [root]
    while left:
        pid = left.pop()
        found.append(pid)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                left += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
        except OSError:
            continue
    return found


def _tree_ticks(root: int) -> int:
    """User and system ticks of a process and all beneath it; a parent holds those of its children that have ended."""
    total = 0
    for pid in _descendants(root):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15]))
    return total


def _peak_kib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)
