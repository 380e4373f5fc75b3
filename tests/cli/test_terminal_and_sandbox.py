"""What needs a terminal or a second process: the live display, the question before real mail, the sandbox verb."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading

import pytest
import yaml

HEAVY = {
    "bulkmail.composition",
    "bulkmail.engine.node",
    "bulkmail.store.store",
    "uvloop",
    "jinja2",
    "cryptography",
    "dns",
}


class Terminal:
    """A pseudo-terminal on which a program runs; `shown` is all that it wrote there so far."""

    def __init__(self, arguments: list[object], **options: object) -> None:
        self._ours, theirs = pty.openpty()
        self.shown = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bulkmail", *map(str, arguments)],
            stdin=theirs,
            stderr=theirs,
            stdout=subprocess.PIPE,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"},
        )
        os.close(theirs)
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:
                data = b""
            with self._changed:
                self.shown += data
                self._changed.notify_all()
            if not data:
                return

    def wait_for(self, text: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: text.encode() in self.shown, 30), self.shown

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self) -> tuple[int, str]:
        out, _ = self.process.communicate(timeout=60)
        self._reader.join(10)
        os.close(self._ours)
        return self.process.returncode, out.decode()


def test_on_a_terminal_the_display_lives_on_stderr_and_leaves_the_cursor_as_it_was(folder) -> None:
    folder.edit("delivery:\n", "limits: {default: {messages: 20/s, connections: 1}}\ndelivery:\n")
    terminal = Terminal(["send", folder.file, "--json"])
    terminal.wait_for("Ctrl-C stops in order")
    terminal.wait_for("own-house")
    code, out = terminal.end()
    assert code == 0
    assert json.loads(out)["state"] == "finished"
    shown = terminal.shown.decode()
    assert "━" in shown and "letter-1" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_a_control_c_typed_at_the_terminal_stops_in_order(folder) -> None:
    folder.edit("delivery:\n", "limits: {default: {messages: 5/s, connections: 1}}\ndelivery:\n")
    terminal = Terminal(["send", folder.file])
    terminal.wait_for("own-house")
    terminal.process.send_signal(signal.SIGINT)
    code, out = terminal.end()
    assert code == 3
    assert "run letter-1 stopped:" in out and "goes on where this stopped" in out
    assert b"stopping: replies under way are waited for" in terminal.shown


@pytest.mark.parametrize(
    ("options", "answer", "code"), [([], "n\n", 3), ([], "y\n", 3), (["--yes"], None, 3), (["--limit", 1000], None, 3)]
)
def test_before_many_real_messages_there_is_a_question(folder, options, answer, code) -> None:
    folder.edit("route: sandbox", "route: mx\n  port: 1\n  allow_private_mx: true")
    folder.edit("delivery:\n", 'dns: {servers: ["127.0.0.1:1"], timeout: 100ms}\ndelivery:\n')
    folder.write_rows([f"r{number}@x{number}.example,A" for number in range(1_001)])
    terminal = Terminal(["send", folder.file, "--no-wait", *options])
    if answer is not None:
        terminal.wait_for("Send letter to about 1,001 recipients, for real? [y/N]")
        assert not folder.state.exists()
        terminal.type(answer)
    found, out = terminal.end()
    assert found == code
    assert (b"Send letter to" in terminal.shown) == (answer is not None)
    assert ("run letter-1" in out) == (answer != "n\n")
    assert (b"nothing was sent" in terminal.shown) == (answer == "n\n")


def test_the_sandbox_says_how_to_send_to_it_and_that_works(folder, spawn, tmp_path) -> None:
    sandbox = spawn("sandbox", "--folder", tmp_path / "mail", "--seed", 1)
    lines = []
    while not lines or "servers:" not in lines[-1]:
        lines.append(sandbox.stdout.readline())
        assert lines[-1], "the sandbox ended"
    shown = "".join(lines)
    assert "gmail.com" in shown and "Ctrl-C ends it" in shown
    snippet = yaml.safe_load(shown.partition("in a campaign\n")[2])
    campaign = yaml.safe_load(folder.file.read_text())
    campaign["delivery"] |= snippet["delivery"]
    campaign["dns"] = snippet["dns"]
    folder.file.write_text(yaml.safe_dump(campaign))
    out, _ = spawn("send", folder.file, "--json").communicate(timeout=60)
    summary = json.loads(out)
    assert summary["delivered"] == len(list((tmp_path / "mail" / "maildir" / "new").iterdir())) >= 20
    sandbox.send_signal(signal.SIGINT)
    _, errors = sandbox.communicate(timeout=30)
    assert (sandbox.returncode, errors) == (0, "")


def test_a_temporary_sandbox_leaves_nothing_behind(spawn, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    sandbox = spawn("sandbox", "--keep", "log")
    while "servers:" not in sandbox.stdout.readline():
        assert sandbox.poll() is None
    assert list(tmp_path.glob("bulkmail-sandbox-*"))
    sandbox.send_signal(signal.SIGTERM)
    sandbox.communicate(timeout=30)
    assert sandbox.returncode == 0
    assert not list(tmp_path.glob("bulkmail-sandbox-*"))


@pytest.mark.parametrize("arguments", [["--help"], ["send", "--help"], ["suppress", "--help"], ["--version"]])
def test_help_is_quick_because_it_loads_no_engine(arguments) -> None:
    script = (
        "import sys\n"
        "from bulkmail.cli.main import main\n"
        "try:\n    main()\n"
        "except SystemExit as ended:\n    assert not ended.code\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)\n"
    )
    process = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    assert process.stdout
    assert not HEAVY & set(process.stderr.split())


def test_the_module_and_the_script_are_the_same_program(spawn) -> None:
    out, _ = spawn("--help").communicate(timeout=30)
    assert "Usage: python -m bulkmail" in out
