"""`python -m spamd.demo [--once]`."""

from __future__ import annotations

from spamd.demo.story import main

raise SystemExit(main())
