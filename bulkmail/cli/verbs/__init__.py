"""The verbs of the command line: what each takes and says of itself. What it does is in the module of its name."""
