"""The whole story on an embedded mailbox: no account, no questions, nothing of the person's is touched."""
