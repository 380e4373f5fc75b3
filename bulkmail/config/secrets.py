"""Read the password of a relay from where the campaign file says that it is; it is kept nowhere else."""

import os
from pathlib import Path

from bulkmail.config.files import exposure
from bulkmail.errors import CampaignError
from bulkmail.model.campaign import Relay
from bulkmail.smtp.saslprep import saslprep

MAX_BYTES = 4096


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
