"""Examine the machine: descriptors, disk, clock, and the state directory and its owner."""

import ctypes
import os
import resource
import shutil
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bulkmail.doctor.finding import Finding, advice, fine, problem, unknown
from bulkmail.store.directory import owner_of

FEW_DESCRIPTORS = 4096
LITTLE_BYTES = 100 << 20
SCANT_BYTES = 1 << 30
# A clock before this software was written is wrong.
EARLIEST_SECONDS = 1_767_225_600.0  # 2026-01-01
_TIME_ERROR = 5


class Machine(Struct, frozen=True, kw_only=True):
    """What was seen; None where it could not be. `state` is None where there is no state directory yet."""

    descriptors: int
    free_bytes: int | None
    free_inodes: int | None
    now: float
    synchronised: bool | None
    state: Path | None
    state_owner: int | None = None
    state_mode: int = 0o700
    user: int = 0
    state_writable: bool = True
    sender: int | None = None


def look_at_machine(directory: Path | None, *, now: float) -> Machine:
    """`directory` is where the state is or would be made."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    place = directory or Path.cwd()
    while not place.is_dir() and place != place.parent:
        place = place.parent
    free = inodes = None
    try:
        free = shutil.disk_usage(place).free
        statistics = os.statvfs(place)
        inodes = statistics.f_favail if statistics.f_files else None
    except OSError:
        pass
    seen = Machine(
        descriptors=hard if hard != resource.RLIM_INFINITY else 1 << 30,
        free_bytes=free,
        free_inodes=inodes,
        now=now,
        synchronised=_synchronised(),
        state=None,
        user=os.geteuid(),
        state_writable=os.access(place, os.W_OK | os.X_OK),
    )
    if directory is None or not directory.is_dir():
        return seen
    about = directory.stat()
    changes = {
        "state": directory,
        "state_owner": about.st_uid,
        "state_mode": about.st_mode & 0o777,
        "sender": owner_of(directory),
    }
    return replace(seen, **changes)


def examine_machine(seen: Machine) -> list[Finding]:
    """Judge what was seen."""
    findings = [*_clock(seen), *_disk(seen), *_state(seen)]
    if seen.descriptors < FEW_DESCRIPTORS:
        findings.append(
            problem(
                "machine.descriptors",
                "few files may be open at once, which bounds the connections",
                f"the hard limit is {seen.descriptors}",
                remedy=f"raise it: ulimit -Hn {FEW_DESCRIPTORS * 4}, or LimitNOFILE= of the systemd unit",
            )
        )
    else:
        findings.append(fine("machine.descriptors", "enough files may be open at once", str(seen.descriptors)))
    return findings


def _clock(seen: Machine) -> list[Finding]:
    set_it = "run a time service: systemd-timesyncd, chrony or ntpd"
    if seen.now < EARLIEST_SECONDS:
        return [
            problem(
                "machine.clock",
                "the clock is wrong: dates and signatures of messages will be, too",
                f"it says {seen.now:.0f} s since 1970",
                remedy=set_it,
            )
        ]
    if seen.synchronised is False:
        return [
            advice(
                "machine.clock-free", "nothing keeps the clock right", "the kernel says unsynchronised", remedy=set_it
            )
        ]
    return [fine("machine.clock", "the clock is kept right" if seen.synchronised else "the clock is plausible")]


def _disk(seen: Machine) -> list[Finding]:
    remedy = "make room, or keep the state elsewhere with --state"
    if seen.free_bytes is None:
        return [unknown("machine.disk-unknown", "the room on the disk could not be seen", remedy="look with df")]
    evidence = f"{seen.free_bytes / (1 << 20):,.0f} MiB free"
    if seen.free_inodes is not None and seen.free_inodes < 1000:
        return [problem("machine.inodes", "the disk has hardly a file left", f"{seen.free_inodes} free", remedy=remedy)]
    if seen.free_bytes < LITTLE_BYTES:
        return [problem("machine.disk", "the disk is all but full: a send would pause", evidence, remedy=remedy)]
    if seen.free_bytes < SCANT_BYTES:
        return [advice("machine.disk-scant", "the disk has little room", evidence, remedy=remedy)]
    return [fine("machine.disk", "the disk has room", evidence)]


def _state(seen: Machine) -> list[Finding]:
    if seen.state is None:
        if not seen.state_writable:
            return [
                problem(
                    "state.unwritable",
                    "the state directory cannot be made here",
                    "no permission to write",
                    remedy="run as a user who may, or choose another place with --state",
                )
            ]
        return [fine("state.none", "there is no state directory yet; the first send makes it")]
    findings = []
    if seen.state_owner != seen.user:
        findings.append(
            problem(
                "state.owner",
                f"{seen.state} belongs to another user",
                f"uid {seen.state_owner}, this is uid {seen.user}",
                remedy=f"run as its owner, or chown -R {seen.user} {seen.state}",
            )
        )
    elif not seen.state_writable:
        findings.append(
            problem(
                "state.unwritable",
                f"{seen.state} cannot be written",
                f"mode {seen.state_mode:03o}",
                remedy=f"chmod u+rwx {seen.state}, or mount its disk read-write",
            )
        )
    if seen.state_mode & 0o077:
        findings.append(
            problem(
                "state.exposed",
                f"others may look into {seen.state}, which holds addresses and a secret",
                f"mode {seen.state_mode:03o}",
                remedy=f"chmod 700 {seen.state}",
            )
        )
    if seen.sender is not None:
        findings.append(
            advice(
                "state.in-use",
                f"{seen.state} is in use: no other send can begin",
                f"process {seen.sender}",
                remedy="wait for it, or stop it with SIGINT",
            )
        )
    return findings or [fine("state.ours", f"the state directory {seen.state} is ours and free")]


def _synchronised() -> bool | None:
    """What the kernel says (adjtimex(2)); None where it does not say."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (AttributeError, OSError):
        return None
    return None if state < 0 else state != _TIME_ERROR
