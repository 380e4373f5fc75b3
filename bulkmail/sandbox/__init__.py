"""A small internet on loopback: DNS and mail exchangers with the manners of providers.

`Sandbox` runs in the current event loop, `SandboxProcess` in a process of its own. Any recipient works without
configuration; `zone` and `doorman` list the words that force what a domain or a mailbox does.
"""

from bulkmail.sandbox.counts import Statistics
from bulkmail.sandbox.process import SandboxProcess
from bulkmail.sandbox.profiles import OPEN_HOUSE
from bulkmail.sandbox.sandbox import Sandbox

__all__ = ["OPEN_HOUSE", "Sandbox", "SandboxProcess", "Statistics"]
