"""Real and scripted IMAP servers for the tests, all on the loopback interface."""
