"""The only room that speaks IMAP."""
