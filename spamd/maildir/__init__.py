"""Mail that lies on this computer: Maildir and mbox, fetched there by mbsync, getmail, fetchmail or a local server."""
