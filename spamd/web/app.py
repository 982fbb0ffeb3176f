"""The ASGI application: gate, API, pages, static files."""

from __future__ import annotations

import json
import logging
import traceback
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from spamd import __version__, wire
from spamd.control import Control
from spamd.errors import SpamdError
from spamd.web import api, pages
from spamd.web.access import Access, Gate, Refused, refused_response, too_many_codes
from spamd.web.pairing import is_own, run_proof

log = logging.getLogger(__name__)


def build(control: Control, access: Access, port: int) -> tuple[ASGIApp, api.Streams]:
    """The application for one daemon on one port."""
    streams = api.Streams(control, access.limits.streams)
    shown = pages.Pages(control, access, f"spamd-{port}")

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return refused_response(request.url.path, error)

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if request.url.path.startswith("/api/"):
            told = api.ErrorAnswer(api.ErrorText(str(error.detail), ""))
            return JSONResponse(wire.to_json(told), error.status_code, headers=dict(error.headers or {}))
        title = "There is no such page." if error.status_code == 404 else str(error.detail)
        return shown.error(request, error.status_code, title, "")

    async def spamd_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, SpamdError)
        status, told = api.error_answer(error)
        return shown.error(request, status, told.error.title, told.error.hint)

    async def fault(request: Request, error: Exception) -> Response:
        # Where and what kind, not the message: it may carry mail text, and the log must not.
        places = [f"{step.filename}:{step.lineno}" for step in traceback.extract_tb(error.__traceback__)[-6:]]
        log.error("a request failed: %s at %s", type(error).__name__, " < ".join(reversed(places)))
        if request.url.path.startswith("/api/"):
            told = api.ErrorAnswer(
                api.ErrorText("Something went wrong inside spamd.", "The log file says more.")
            )
            return JSONResponse(wire.to_json(told), 500)
        return shown.error(request, 500, "Something went wrong inside spamd.", "The log file says more.")

    async def favicon(request: Request) -> Response:
        return RedirectResponse("/static/icon.svg", 307)

    async def told(request: Request) -> tuple[str, str, str]:
        """Nonce, answer and proof, of who holds no token; see `pairing`."""
        if request.client is None or not is_own(request.client, port):
            raise Refused(403, "Another user's program may not ask spamd.")
        too_many_codes(access)
        body = await request.body()
        try:
            asked = json.loads(body)
            return str(asked.get("nonce", "")), str(asked.get("answer", "")), str(asked.get("proof", ""))
        except (ValueError, AttributeError, RecursionError):
            raise Refused(400, "This is no question.") from None

    async def pair(request: Request) -> Response:
        """The add-on proves that it holds the pasted key."""
        nonce, answer, proof = await told(request)
        if not proof:
            begun = access.pairing.begin(nonce) if access.pairing is not None else None
            if begun is None:
                raise Refused(404, "Nothing is paired here.", "Run `spamdctl thunderbird token`.")
            return JSONResponse({"nonce": begun[0], "proof": begun[1]})
        if access.pairing is None or not access.pairing.proves(nonce, answer, proof):
            access.bad_try()
            raise Refused(401, "The key is wrong.", "Run `spamdctl thunderbird token`.")
        return JSONResponse({"token": access.token, "version": __version__})

    async def prove(request: Request) -> Response:
        """We prove that we are the daemon whose token the add-on has, before it shows us a mail."""
        nonce, _, _ = await told(request)
        proof = run_proof(access.token, port, nonce)
        if proof is None:
            raise Refused(400, "This is no question.")
        return JSONResponse({"proof": proof})

    app = Starlette(
        routes=[
            *api.routes(control, access, streams),
            *shown.routes(),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
        ],
        exception_handlers={
            Refused: refused,
            HTTPException: http_error,
            SpamdError: spamd_error,
            Exception: fault,
        },
    )
    app.add_route("/favicon.ico", favicon)
    app.add_route("/pair", pair, methods=["POST"])
    app.add_route("/prove", prove, methods=["POST"])
    return Gate(app, access, port), streams
