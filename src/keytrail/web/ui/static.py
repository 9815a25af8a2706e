"""Style sheet, scripts and libraries: served by ourselves, packed once, kept by browsers until they change."""

import gzip
import hashlib
from functools import lru_cache
from importlib import resources
from typing import Final

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from keytrail.web.paths import segment

TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
FOREVER: Final = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


@lru_cache(maxsize=1)
def assets() -> dict[str, tuple[bytes, bytes]]:
    """Every file that pages load, by its path: as it is, and packed."""
    found = {}
    folder = resources.files("keytrail.web") / "static"
    for prefix, place in (("", folder), ("vendor/", folder / "vendor")):
        if not place.is_dir():
            continue
        for file in place.iterdir():
            if file.is_file() and file.name.rpartition(".")[2] in TYPES:
                content = file.read_bytes()
                found[prefix + file.name] = content, gzip.compress(content, mtime=0)
    return found


@lru_cache(maxsize=1)
def version() -> str:
    """Changes with any of the files: it is part of their URLs, so that a browser may keep them."""
    digest = hashlib.sha256()
    for name, (content, _) in sorted(assets().items()):
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()[:12]


@router.get("/static/{version}/{name}")
@router.get("/static/{version}/vendor/{vendor}")
def static(request: Request, name: str = "", vendor: str = "") -> Response:
    """One of the files."""
    path = segment(f"vendor/{vendor}" if vendor else name)
    if path not in assets():
        raise HTTPException(404)
    content, packed = assets()[path]
    headers = {"Cache-Control": FOREVER, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        content = packed
    return Response(content, headers=headers, media_type=TYPES[path.rpartition(".")[2]])


@router.get("/favicon.ico")
def favicon() -> Response:
    """The icon, for who looks for it where it has always been."""
    return Response(assets()["icon.svg"][0], headers={"Cache-Control": "max-age=86400"}, media_type=TYPES["svg"])
