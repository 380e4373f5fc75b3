"""What receivers judge a sender by, as they would compute it: SPF and DMARC. Sans-I/O."""
