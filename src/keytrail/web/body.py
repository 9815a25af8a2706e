"""The body of a request, read within a bound."""

from fastapi import Request

from keytrail.errors import TooLarge


async def read_body(request: Request, most: int, what: str = "body: at most") -> bytes:
    """The body; no more of it is held than is allowed.

    Args:
        request: The request.
        most: Bytes that it may have.
        what: Begins the message of what is larger.

    Raises:
        TooLarge: It has more bytes than that.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise TooLarge(f"{what} {most} bytes")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            raise TooLarge(f"{what} {most} bytes")
    return bytes(body)
