"""Look at a campaign before anybody gets mail: one file a subject, every finding by a rule with a stable id."""
