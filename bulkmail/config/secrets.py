"""Read the secrets of a campaign from where its file says that they are; they are kept nowhere else."""

import os
from pathlib import Path

from msgspec import Struct

from bulkmail.config.files import exposure
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Campaign, Relay, Webhook
from bulkmail.smtp.saslprep import saslprep

MAX_BYTES = 4096
LEAST_SECRET = 16


def password_of(relay: Relay, *, file: str | None, path: str) -> str | None:
    """The password; None for a relay without one. `path` is the relay's in the campaign `file`.

    Raises CampaignError, which never has the password in it, where it is not to be had or cannot be sent.
    """
    if relay.password_env is not None:
        key = f"{path}.password_env"
        password = os.environ.get(relay.password_env)
        if password is None:
            raise CampaignError(
                f"the environment variable {relay.password_env} is not set",
                file=file,
                path=key,
                hint=f"export {relay.password_env}=... before sending",
            )
        where = f"the password in {relay.password_env}"
    elif relay.password_file is not None:
        key = f"{path}.password_file"
        where = f"the password in {relay.password_file}"
        password = _first_line(relay.password_file, file=file, path=key)
    else:
        return None
    if not password:
        raise CampaignError(f"{where} is empty", file=file, path=key)
    try:
        saslprep(password)
    except ValueError as error:
        raise CampaignError(f"{where} has {error}", file=file, path=key) from None
    return password


class Target(Struct, frozen=True):
    """A receiver of events with the secret that it shares with us."""

    hook: Webhook
    secret: bytes


def webhook_targets(campaign: Campaign) -> tuple[Target, ...]:
    """The receivers of the campaign's events. Raises CampaignError where a secret is not to be had."""
    return tuple(
        Target(hook, webhook_secret(hook, file=campaign.file, path=f"webhooks[{index}]"))
        for index, hook in enumerate(campaign.webhooks)
    )


def webhook_secret(hook: Webhook, *, file: str | None, path: str) -> bytes:
    """The secret that signs what is posted. Raises CampaignError, which never has it in it."""
    if hook.secret_file is not None:
        key, where = f"{path}.secret_file", hook.secret_file
        secret = _first_line(where, file=file, path=key)
    else:
        key, where = f"{path}.secret_env", hook.secret_env or ""
        secret = os.environ.get(where, "")
    if len(secret) < LEAST_SECRET:
        problem = (
            "is not set" if not secret and hook.secret_file is None else f"has less than {LEAST_SECRET} characters"
        )
        hint = "make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        raise CampaignError(f"the secret in {where} {problem}", file=file, path=key, hint=hint)
    return secret.encode()


def _first_line(name: str, *, file: str | None, path: str) -> str:
    problem = exposure(name)
    if problem is not None:
        raise CampaignError(f"{name} {problem}", file=file, path=path, hint=f"chmod 600 {name}")
    try:
        with Path(name).open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        text = content.decode()
    except OSError as error:
        raise CampaignError(f"{name} cannot be read: {error.strerror or error}", file=file, path=path) from None
    except UnicodeDecodeError:
        raise CampaignError(f"{name} is not UTF-8", file=file, path=path) from None
    lines = text.splitlines()
    if len(content) > MAX_BYTES or len(lines) > 1:
        raise CampaignError(f"{name} has more than one line", file=file, path=path, hint="one line, the password alone")
    return lines[0] if lines else ""
