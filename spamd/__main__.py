"""`python -m spamd` is `spamdctl`."""

from spamd.cli import main

main()
