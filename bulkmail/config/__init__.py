"""Campaign files: YAML to a frozen Campaign, every error with file and line."""
