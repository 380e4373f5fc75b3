"""A small internet on loopback: DNS and mail exchangers with the manners of providers."""
