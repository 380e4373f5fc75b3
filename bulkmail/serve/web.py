"""The HTTP side: one-click unsubscribe (RFC 8058), the page for people, tracked links, and how the listener is.

The token at the end of the path is all that says who is meant: no cookie, no session. Nothing but a POST that says what
it wants changes anything, and what is answered is the same whether the token is one of ours or not.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from starlette.applications import Starlette
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from bulkmail.content.tracking import PIXEL, LinkSeal, open_link
from bulkmail.engine.returns import Reader
from bulkmail.engine.unsubscribing import Wish
from bulkmail.errors import BulkmailError
from bulkmail.serve.page import HEADERS, Pages, language_of
from bulkmail.serve.worker import Worker

BODY_LIMIT = 16 << 10
BODY_SECONDS = 10.0
TOKEN_LIMIT = 200
ONE_CLICK = "List-Unsubscribe"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class TooLarge(Exception):
    """A body over the limit."""


class Site:
    """The pages; `told` gets what was asked and by whom."""

    def __init__(self, pages: Pages, worker: Worker, told: Callable[[Wish, Reader], None]) -> None:
        self._pages = pages
        self._worker = worker
        self._told = told
        self._seals: tuple[LinkSeal, ...] = ()

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/health", self.health, methods=["GET"]),
                Route("/c/{sealed}/{token}", self.click, methods=["GET", "HEAD"]),
                Route("/o/{name}", self.pixel, methods=["GET", "HEAD"]),
                Route("/{path:path}/{token}", self.unsubscribe, methods=["GET", "HEAD", "OPTIONS", "POST"]),
            ]
        )

    async def health(self, request: Request) -> Response:
        """200 where an effect can be made durable now, else 503."""
        try:
            async with asyncio.timeout(5):
                await self._worker.do(lambda incoming: None)
        except (BulkmailError, TimeoutError) as error:
            return JSONResponse({"state": "failing", "why": type(error).__name__}, status_code=503)
        return JSONResponse({"state": "ok", "waiting": self._worker.waiting}, headers={"cache-control": "no-store"})

    async def click(self, request: Request) -> Response:
        """Leads on to a target that we have sealed, and only there; counted where that can be made durable."""
        path = request.url.path
        found = open_link(path, self._seals)
        if found is None:
            try:
                self._seals = await self._worker.do(lambda incoming: incoming.clicks.seals())
            except BulkmailError:
                return _come_again()
            found = open_link(path, self._seals)
        if found is None:
            return PlainTextResponse("Not found.\n", status_code=404, headers=HEADERS)
        if request.method == "GET":
            await self._count(path)
        return Response(status_code=302, headers={**HEADERS, "location": found.target})

    async def pixel(self, request: Request) -> Response:
        """The same picture for every path, so that it tells nothing."""
        if request.method == "GET":
            await self._count(request.url.path)
        return Response(PIXEL, media_type="image/gif", headers=HEADERS)

    async def _count(self, path: str) -> None:
        """A reader is led on also where nothing can be counted."""
        with suppress(BulkmailError):
            await self._worker.do(lambda incoming: incoming.clicks.note(path))

    async def unsubscribe(self, request: Request) -> Response:
        language = language_of(request.query_params.get("lang", ""), request.headers.get("accept-language", ""))
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"allow": "GET, HEAD, OPTIONS, POST"})
        if request.method != "POST":
            return _page(self._pages.ask(language))
        try:
            form = await _form(request)
        except (TooLarge, TimeoutError, HTTPException, ValueError):
            return _page(self._pages.plain(language, "wrong"), 400)
        except ClientDisconnect:
            return Response(status_code=400)
        token = request.path_params["token"][:TOKEN_LIMIT]
        if form.get(ONE_CLICK) == "One-Click":
            answer = await self._carry_out(Wish(token=token, way="one-click"))
            return PlainTextResponse("Done.\n", headers=HEADERS) if answer else _come_again()
        what = form.get("do")
        chosen = tuple(sorted({str(name) for name in form.getlist("list")} & self._pages.lists))
        everything = bool(form.get("all"))
        if what not in ("stop", "stop-chosen", "again") or (what == "stop-chosen" and not (chosen or everything)):
            return _page(self._pages.ask(language) if what == "stop-chosen" else self._wrong(language), 400)
        if what == "stop":
            chosen, everything = (), False
        wish = Wish(token=token, way="page", lists=chosen, everything=everything, again=what == "again")
        if not await self._carry_out(wish):
            return _page(self._pages.plain(language, "later"), 503)
        if wish.again:
            return _page(self._pages.plain(language, "again", "again_done"))
        return _page(self._pages.done(language, chosen=chosen, everything=everything))

    def _wrong(self, language: str) -> str:
        return self._pages.plain(language, "wrong")

    async def _carry_out(self, wish: Wish) -> bool:
        """False where it could not be made durable now; True also for tokens that are not ours."""
        try:
            reader = await self._worker.do(lambda incoming: incoming.unsubscribing.apply(wish))
        except BulkmailError:
            return False
        if reader is not None:
            self._told(wish, reader)
        return True


async def _form(request: Request) -> FormData:
    """The fields of the body, which is read here so that neither its size nor its pace is the client's to choose."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _FORMS:
        raise ValueError("no form")
    async with asyncio.timeout(BODY_SECONDS):
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > BODY_LIMIT:
                raise TooLarge
    request._body = bytes(body)
    return await request.form(max_files=8, max_fields=200)


def _page(html: str, status: int = 200) -> Response:
    return HTMLResponse(html, status_code=status, headers=HEADERS)


def _come_again() -> Response:
    return PlainTextResponse("Try again.\n", status_code=503, headers={**HEADERS, "retry-after": "60"})
