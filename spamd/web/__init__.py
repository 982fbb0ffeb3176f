"""The local pages and the JSON API, on loopback only: thin doors over `control`."""
