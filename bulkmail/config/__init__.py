"""Campaign files: YAML to a frozen Campaign, every error with file and line."""

from bulkmail.config.load import load_campaign

__all__ = ["load_campaign"]
