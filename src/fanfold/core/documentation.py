"""`/docs` (Swagger UI) and `/redoc`, with everything they load served by ourselves.

Only the static files of fastapi-offline are used. All addresses are relative, so that the pages work below any root
path; there is no inline script, and the pages' own policy lets nothing be loaded from elsewhere.
"""

import asyncio
import html
from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route, Router

from fanfold.core.config import Settings

ASSETS = "/docs/assets"
# Swagger UI and ReDoc style their elements in the page, and ReDoc searches in a worker made from a blob.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_SHARED = {"Cache-Control": "public, max-age=3600"}

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="icon" href="docs/assets/favicon.png">"""
_SWAGGER = (
    _HEAD
    + """<link rel="stylesheet" href="docs/assets/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="docs/assets/swagger-ui-bundle.js"></script><script src="docs/assets/start.js"></script></body></html>
"""
)
_REDOC = (
    _HEAD
    + """<style>body {{ margin: 0 }}</style></head>
<body><redoc spec-url="openapi.json" hide-loading></redoc>
<script src="docs/assets/redoc.standalone.js"></script></body></html>
"""
)
# validatorUrl: Swagger UI would else send the document's address to a service of its makers.
_START = """window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  filter: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout"
});
window.ui.initOAuth({ clientId: "", appName: "Fanfold", scopes: "" });
"""
_FILES = ("favicon.png", "redoc.standalone.js", "swagger-ui-bundle.js", "swagger-ui.css")


def mount_documentation(app: FastAPI, settings: Settings) -> None:
    """Add the document, its pages and their files, unless `settings.server.docs` is off.

    Raises `ValueError` where the app would show FastAPI's own.
    """
    if app.docs_url or app.redoc_url or app.openapi_url:
        raise ValueError("Make the app with docs_url=None, redoc_url=None and openapi_url=None.")
    if not settings.server.docs:
        return
    app.add_route("/openapi.json", _document(app), include_in_schema=False)
    for path, page in (("/docs", _SWAGGER), ("/redoc", _REDOC)):
        content = page.format(title=html.escape(app.title))
        app.add_api_route(path, _page(content), include_in_schema=False, response_class=HTMLResponse)
    app.mount(ASSETS, _assets(), name="documentation-assets")


def _document(app: FastAPI) -> Callable[[Request], Awaitable[Response]]:
    one_makes_it = asyncio.Lock()

    async def document(request: Request) -> Response:
        async with one_makes_it:
            # It builds every route, and takes most of a second at the first time: nobody else waits for that.
            made = await asyncio.to_thread(app.openapi)
        root = request.scope.get("root_path", "").rstrip("/")
        return JSONResponse({**made, "servers": [{"url": root}]} if root else made)

    return document


def _page(content: str) -> Callable[[], Awaitable[HTMLResponse]]:
    async def page() -> HTMLResponse:
        return HTMLResponse(content, headers={"Content-Security-Policy": POLICY})

    return page


def _assets() -> Router:
    folder = Path(str(files("fastapi_offline"))) / "static"
    routes = [Route(f"/{name}", _file(folder / name)) for name in _FILES]
    return Router(routes=[*routes, Route("/start.js", _start)])


def _file(path: Path) -> Callable[[Request], Awaitable[Response]]:
    async def serve(_: Request) -> Response:
        return FileResponse(path, headers=_SHARED)

    return serve


async def _start(_: Request) -> Response:
    return Response(_START, media_type="text/javascript", headers=_SHARED)
