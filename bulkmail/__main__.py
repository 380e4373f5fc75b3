"""`python -m bulkmail`: the same as the command `bulkmail`."""

from bulkmail.cli.main import main

main()
