"""HTTPS to strangers: our own name look-up, addresses checked and pinned, no redirects, bounded size and time."""
