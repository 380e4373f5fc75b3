"""Campaign files: YAML to a frozen Campaign, every error with file and line."""

from bulkmail.config.load import load_campaign
from bulkmail.config.schema import campaign_schema

__all__ = ["campaign_schema", "load_campaign"]
