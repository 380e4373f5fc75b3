"""A small internet on loopback: DNS and mail exchangers with the manners of providers.

`Sandbox` runs in the current event loop, `SandboxProcess` in a process of its own. Any recipient works without
configuration; `zone` and `doorman` list the words that force what a domain or a mailbox does.
"""
