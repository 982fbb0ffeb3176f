"""spamd: a private junk-mail filter for people with IMAP mail."""

__version__ = "0.1.0"
