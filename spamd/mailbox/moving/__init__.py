"""The rooms behind spamd.mailbox.mover, which says what each knows. None imports one that comes later in that list."""
