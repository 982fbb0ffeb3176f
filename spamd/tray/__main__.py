"""`python -m spamd.tray`."""

from spamd.tray import main

if __name__ == "__main__":
    main()
