"""What is wrong with the input is said with its place and a way out, and exits with 2; never a traceback."""

import gzip
import os
import shutil
import socket
import sqlite3
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

import bulkmail
from benchmarks.workload import make_key
from bulkmail.dkim import keys


def cut_off_yaml(folder) -> None:
    folder.file.write_text("campaign: [unclosed\n")


def unknown_key(folder) -> None:
    folder.edit("subject:", "subjekt:")


def two_errors(folder) -> None:
    folder.edit("kind: transactional", "kind: spam")
    folder.edit("retry: [1s]", "retry: [soon]")


def template_error(folder) -> None:
    (folder.path / "body.html").write_text("fine\n{{ first_name \n")


def undefined_field_in_the_subject(folder) -> None:
    folder.edit("{{ first_name }}", "{{ first_nam }}")


def template_error_in_a_header(folder) -> None:
    folder.edit("content:", 'headers:\n  X-Plain: a\n  X-Name: "{{ first_name"\ncontent:')


def no_password(folder) -> None:
    relay = "relay: {host: localhost, username: acme, password_env: NO_SUCH_VARIABLE}"
    folder.edit("route: sandbox", f"route: relay\n  {relay}")


def undefined_field(folder) -> None:
    (folder.path / "body.txt").write_text("one\nHello {{ first_nam }}\n")


def bad_key(folder) -> None:
    key = folder.path / "key.pem"
    key.write_text("not a key\n")
    key.chmod(0o600)
    folder.edit("delivery:\n", "dkim: [{domain: garden.example, selector: s1, key: key.pem}]\ndelivery:\n")


def open_key(folder) -> None:
    bad_key(folder)
    (folder.path / "key.pem").chmod(0o644)


def key_that_is_a_folder(folder) -> None:
    bad_key(folder)
    (folder.path / "key.pem").unlink()
    (folder.path / "key.pem").mkdir()


def put_key(folder, private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, *, passphrase: bytes = b"") -> None:
    bad_key(folder)
    cipher = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher)
    (folder.path / "key.pem").write_bytes(pem)


def key_for_no_dkim(folder) -> None:
    put_key(folder, ec.generate_private_key(ec.SECP256R1()))


def encrypted_key(folder) -> None:
    put_key(folder, rsa.generate_private_key(65537, 1024), passphrase=b"secret")


def public_key(folder) -> None:
    bad_key(folder)
    public = rsa.generate_private_key(65537, 1024).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    (folder.path / "key.pem").write_bytes(public.public_bytes(serialization.Encoding.PEM, form))


def absent_key_for_real_mail(folder) -> None:
    folder.edit("route: sandbox", "route: mx")
    folder.edit("delivery:\n", "dkim: [{domain: garden.example, selector: s1, key: key.pem}]\ndelivery:\n")


def password_not_set(folder) -> None:
    relay = "{host: mail.example, username: acme, password_env: NO_SUCH_PASSWORD}"
    folder.edit("route: sandbox", f"route: relay\n  relay: {relay}")


def relay_not_named(folder) -> None:
    folder.edit("route: sandbox", "route: relay")


def two_ats_in_from(folder) -> None:
    folder.edit("news@garden", "news@@garden")


def space_in_reply_to(folder) -> None:
    folder.edit("subject:", "reply_to: care@garden example\nsubject:")


def line_break_in_subject(folder) -> None:
    folder.edit("Hello {{ first_name }}", "Hello\\r\\nBcc: eve@x.example")


def field_in_subject(folder) -> None:
    folder.edit("{{ first_name }}", "{{ frist_name }}")


def header_written_here(folder) -> None:
    folder.edit("subject:", "headers: {Message-ID: x}\nsubject:")


def key_twice(folder) -> None:
    folder.edit("kind: transactional", "kind: transactional\nkind: marketing")


def tab(folder) -> None:
    folder.edit("  route", "\troute")


def yaml_in_latin1(folder) -> None:
    folder.file.write_bytes("campaign: letter\nsubject: Grüße\n".encode("latin-1"))


def nothing_in_yaml(folder) -> None:
    folder.file.write_text("")


def list_in_yaml(folder) -> None:
    folder.file.write_text("- campaign\n")


def folder_for_campaign(folder) -> None:
    folder.file.unlink()
    folder.file.mkdir()


def unknown_route(folder) -> None:
    folder.edit("route: sandbox", "route: sandbx")


def unknown_unit(folder) -> None:
    folder.edit("expire: 20s", "expire: 20 fortnights")


def no_body(folder) -> None:
    (folder.path / "body.html").unlink()


def body_in_latin1(folder) -> None:
    (folder.path / "body.txt").write_bytes("one\nGrüße {{ first_name }}\n".encode("latin-1"))


def picture_not_named(folder) -> None:
    (folder.path / "body.html").write_text('<img src="cid:logo.pgn">')


def unknown_filter(folder) -> None:
    (folder.path / "body.txt").write_text("one\n{{ first_name | uper }}\n")


def way_out_of_the_template(folder) -> None:
    (folder.path / "body.txt").write_text("one\n{{ first_name.__class__ }}\n")


def wrong_address_column(folder) -> None:
    folder.edit("list: letter", "list: letter, address: mail")


def folder_for_list(folder) -> None:
    folder.recipients.unlink()
    folder.recipients.mkdir()


def no_gzip(folder) -> None:
    folder.edit("recipients.csv", "recipients.csv.gz")
    (folder.path / "recipients.csv.gz").write_text("email\n")


def cut_off_gzip(folder) -> None:
    folder.edit("recipients.csv", "recipients.csv.gz")
    whole = gzip.compress(folder.recipients.read_bytes())
    (folder.path / "recipients.csv.gz").write_bytes(whole[:-12])


def no_address_column(folder) -> None:
    folder.recipients.write_text("first_name,city\nAnn,Rome\n")


def empty_list(folder) -> None:
    folder.recipients.write_text("")


def header_in_latin1(folder) -> None:
    folder.recipients.write_bytes("email,größe\na@b.example,1\n".encode("latin-1"))


def rows_in_latin1(folder) -> None:
    folder.recipients.write_bytes("email,first_name\na@b.example,Ann\nz@b.example,Zoë\n".encode("latin-1"))


def no_list(folder) -> None:
    folder.recipients.unlink()


def file_for_state(folder) -> None:
    folder.state.write_text("a file")


def foreign_state(folder) -> None:
    folder.state.mkdir()
    (folder.state / "queue.db").write_bytes(b"not a database" * 100)


def state_of_a_newer_version(folder) -> None:
    folder.state.mkdir()
    database = sqlite3.connect(folder.state / "queue.db")
    database.execute("CREATE TABLE run (id)")
    database.execute("PRAGMA user_version = 999")
    database.close()


CASES = [
    (cut_off_yaml, ["letter.yaml:"]),
    (unknown_key, ["letter.yaml:4", "subjekt", 'did you mean "subject"?']),
    (two_errors, ["letter.yaml:2: kind", "letter.yaml:10: delivery.retry[0]", "2 errors"]),
    (template_error, ["body.html:2"]),
    (undefined_field, ["body.txt:2", "first_nam", "first_name"]),
    (undefined_field_in_the_subject, ["letter.yaml:4: subject", "first_nam", "first_name"]),
    (template_error_in_a_header, ["letter.yaml:7: headers.X-Name"]),
    (no_password, ["letter.yaml:10: delivery.relay.password_env", "NO_SUCH_VARIABLE"]),
    (bad_key, ["key.pem", "PEM"]),
    (open_key, ["key.pem", "chmod"]),
    (no_address_column, ["recipients.csv:1", "first_name", "city"]),
    (empty_list, ["recipients.csv"]),
    (header_in_latin1, ["recipients.csv:1", "UTF-8"]),
    (rows_in_latin1, ["recipients.csv:3", "0xEB", "UTF-8"]),
    (no_list, ["letter.yaml:7: recipients[0].file", "recipients.csv"]),
    (file_for_state, [".bulkmail", "--state"]),
    (foreign_state, ["queue.db"]),
    (state_of_a_newer_version, ["queue.db", "schema 999", "hint: "]),
    (key_that_is_a_folder, ["letter.yaml:8: dkim[0].key", "is a folder"]),
    (key_for_no_dkim, ["key.pem: holds a key of the kind EC", "RSA and Ed25519", "hint: make a new key"]),
    (encrypted_key, ["key.pem: holds an encrypted private key", "hint: decrypt it"]),
    (public_key, ["key.pem: holds a public key", "needs the private key"]),
    (absent_key_for_real_mail, ["letter.yaml:8: dkim[0].key", "does not exist"]),
    (password_not_set, ["letter.yaml", "delivery.relay.password_env", "NO_SUCH_PASSWORD is not set", "export"]),
    (relay_not_named, ["letter.yaml:9: delivery.route", "needs the key relay"]),
    (two_ats_in_from, ['letter.yaml:3: from: "Acme <news@@garden.example>": more than one @', "hint: write"]),
    (space_in_reply_to, ["letter.yaml:4: reply_to", "space in the domain"]),
    (line_break_in_subject, ["letter.yaml:4: subject", "line break in a header"]),
    (field_in_subject, ["letter.yaml", "subject: frist_name is no field", "did you mean first_name?"]),
    (header_written_here, ["letter.yaml:4: headers.Message-ID", "is written for each message"]),
    (key_twice, ["letter.yaml:3: kind", "twice, first in line 2"]),
    (tab, ["letter.yaml:9", "tab", "hint: indent with spaces"]),
    (yaml_in_latin1, ["letter.yaml:2", "0xFC is not UTF-8"]),
    (nothing_in_yaml, ["letter.yaml: the file is empty"]),
    (list_in_yaml, ["letter.yaml:1", "a mapping", "found a list"]),
    (folder_for_campaign, ["letter.yaml: is a folder"]),
    (unknown_route, ["letter.yaml:9: delivery.route", "mx, relay, sandbox", 'did you mean "sandbox"?']),
    (unknown_unit, ["letter.yaml:11: delivery.expire", '"fortnights"', "min, h, d"]),
    (no_body, ["letter.yaml:5: content.html", "does not exist", 'did you mean "body.txt"?']),
    (body_in_latin1, ["body.txt:2", "0xFC is not UTF-8"]),
    (picture_not_named, ["body.html:1: cid:logo.pgn", "did you mean logo.png?"]),
    (unknown_filter, ["body.txt:2", "no filter uper; did you mean upper?"]),
    (way_out_of_the_template, ["body.txt:2", "__class__", "not available in templates"]),
    (wrong_address_column, ['recipients.csv:1: no column "mail"', "email, first_name", 'did you mean "email"?']),
    (folder_for_list, ["letter.yaml:7: recipients[0].file", "is a folder"]),
    (no_gzip, ["recipients.csv.gz: is not gzip"]),
    (cut_off_gzip, ["recipients.csv.gz", "ends too early"]),
]


@pytest.mark.parametrize(("spoil", "expected"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_send_says_where_and_what_and_exits_with_2(folder, call, spoil, expected) -> None:
    spoil(folder)
    before = folder.files()
    result = call("send", folder.file, "--json")
    assert result.exit_code == 2
    assert folder.files() == before
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    for part in expected:
        assert part in result.stderr
    assert "Traceback" not in result.stderr


def test_a_key_is_read_once_and_before_the_state_directory_is_made(folder, call, monkeypatch) -> None:
    made_before: list[bool] = []
    read = keys.read_private_key

    def counting(file: str) -> object:
        made_before.append(folder.state.exists())
        return read(file)

    monkeypatch.setattr(keys, "read_private_key", counting)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    relay = f"relay: {{host: 127.0.0.1, port: {port}, tls: none}}\n  retry: [1s]\n  expire: 1s"
    folder.edit("route: sandbox\n  retry: [1s]\n  expire: 20s", f"route: relay\n  {relay}")
    make_key(folder.path / "key.pem", "ed25519")
    folder.edit("delivery:", "dkim: [{domain: garden.example, selector: s, key: key.pem}]\ndelivery:")
    assert call("send", folder.file).exit_code == 0
    assert made_before == [False]
    made_before.clear()
    shutil.rmtree(folder.state)
    assert bulkmail.send(folder.file).expired == 30
    assert made_before == [False]


def test_after_a_key_is_put_right_the_campaign_may_be_changed_too(folder, call, spawn) -> None:
    open_key(folder)
    assert call("send", folder.file).exit_code == 2
    folder.edit("dkim: [{domain: garden.example, selector: s1, key: key.pem}]\n", "")
    folder.edit("Hello {{ first_name }}", "Good day {{ first_name }}")
    process = spawn("send", folder.file)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "run letter-1 finished" in out


def test_a_finished_run_needs_no_key_any_more(folder, call, spawn) -> None:
    spawn("send", folder.file, "--json").communicate(timeout=60)
    open_key(folder)
    result = call("send", folder.file)
    assert result.exit_code == 0
    assert "nothing was sent now" in result.stdout


@pytest.mark.parametrize("verb", ["send", "check", "preview", "status", "report"])
def test_a_campaign_file_that_is_not_there_is_said_by_every_verb(tmp_path, call, verb) -> None:
    result = call(verb, tmp_path / "absent.yaml")
    assert result.exit_code == 2
    assert "absent.yaml" in result.stdout + result.stderr


@pytest.mark.parametrize("arguments", [["status"], ["report"], ["why", "a@b.example"], ["suppress", "export"]])
def test_without_any_state_the_reading_verbs_say_what_to_name_and_make_nothing(tmp_path, call, arguments) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert "--state" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_defect_is_one_sentence_and_the_traceback_comes_on_demand(folder, call, monkeypatch) -> None:
    def defect(*arguments: object) -> None:
        raise ZeroDivisionError("all\x1b[31m wrong")

    monkeypatch.setattr("bulkmail.cli.check.inspect", defect)
    result = call("check", folder.file)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == r"internal error: ZeroDivisionError: all\x1b[31m wrong"
    assert "Traceback" not in result.stderr
    monkeypatch.setenv("BULKMAIL_DEBUG", "1")
    assert "Traceback" in call("check", folder.file).stderr


def test_a_pipe_that_is_closed_early_is_no_error(folder, spawn) -> None:
    folder.write_rows([f"no-at-{number},x" for number in range(5000)])
    process = spawn("check", "--schema")
    process.stdout.close()
    process.stdout = None
    assert process.wait(timeout=30) == 0
    assert process.stderr.read() == ""


def test_an_unwritable_csv_is_the_users_error(folder, call, spawn) -> None:
    spawn("send", folder.file, "--json").communicate(timeout=60)
    result = call("report", folder.file, "--undelivered", Path("no") / "such" / "folder.csv")
    assert result.exit_code == 2
    assert "folder.csv" in result.stderr and os.strerror(2) in result.stderr
