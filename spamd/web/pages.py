"""The pages for people, rendered here; they work without JavaScript, which only makes them quicker."""

from __future__ import annotations

import html

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from spamd.control import Control
from spamd.web.access import Access, Refused, too_many_codes


class Pages:
    def __init__(self, control: Control, access: Access, cookie: str) -> None:
        self._control = control
        self._access = access
        self._cookie = cookie

    def routes(self) -> list[BaseRoute]:
        return [Route("/open", self.open)]

    def open(self, request: Request) -> Response:
        """A one-time code becomes a session. No redirect: a Strict cookie might not go along."""
        too_many_codes(self._access)
        session = self._access.redeem(request.query_params.get("code", ""))
        if session is None:
            self._access.bad_try()
            raise Refused(401, "This link was used already, or is too old.", "Open the pages again.")
        to = request.query_params.get("to", "")
        target = "/" + (to if to.replace("-", "").isalpha() else "")
        response = HTMLResponse(
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>spamd</title>'
            f'<meta http-equiv="refresh" content="0;url={target}"></head>'
            f'<body><a href="{target}">Go on</a></body></html>'
        )
        response.set_cookie(self._cookie, session, httponly=True, samesite="strict", path="/")
        return response

    def error(self, request: Request, status: int, title: str, hint: str) -> Response:
        return HTMLResponse(f"<h1>{html.escape(title)}</h1><p>{html.escape(hint)}</p>", status)
