"""The gateway's own admin API, as far as it names keys and OAuth clients.

Its rules are read from the open gateway's source (`gateway/api.go`): `X-Tyk-Authorization` bears its secret; where keys
are hashed, listing them is 404 unless `enable_hashed_keys_listing` is set, and a key is asked for by its hash with
`hashed=true`; a list of OAuth clients is one API's.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote

import httpx

from keytrail.errors import KeytrailError

TIMEOUT: Final = httpx.Timeout(30, connect=5)
"""Seconds for an answer."""


class ListingForbidden(KeytrailError):
    """The gateway does not list its keys."""


class Gateway:
    """A gateway that is asked for what it knows of keys and clients.

    Args:
        client: Sends requests; its base is the gateway's address.
        secret: The gateway's secret.
    """

    def __init__(self, client: httpx.Client, secret: str) -> None:
        self._client = client
        self._headers = {"X-Tyk-Authorization": secret}

    def keys(self) -> tuple[list[str], bool]:
        """Its keys, and whether they are hashes.

        Raises:
            ListingForbidden: It does not list them.
            KeytrailError: It does not answer, or not as a gateway does.
        """
        answer = self._get("/tyk/keys")
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise ListingForbidden("the gateway does not list hashed keys (enable_hashed_keys_listing)")
        found = self._object(answer).get("keys")
        names = [str(one) for one in found] if isinstance(found, list) else []
        # A gateway that does not hash refuses to be asked by a hash.
        return names, bool(names) and self._get(_of_key(names[0]), hashed=True).status_code != httpx.codes.BAD_REQUEST

    def session(self, key: str, *, hashed: bool) -> dict[str, Any] | None:
        """What it knows of a key; None if it has none such.

        Raises:
            KeytrailError: It does not answer, or not as a gateway does.
        """
        answer = self._get(_of_key(key), hashed=hashed)
        return None if answer.status_code == httpx.codes.NOT_FOUND else self._object(answer)

    def clients(self, org: str) -> Iterator[dict[str, Any]]:
        """The OAuth clients of an organisation's APIs.

        Raises:
            KeytrailError: It does not answer, or not as a gateway does.
        """
        for api in self._list(self._get("/tyk/apis")):
            if api.get("org_id") == org and api.get("use_oauth2"):
                answer = self._get(f"/tyk/oauth/clients/{quote(str(api.get('api_id')), safe='')}")
                # The API may have gone since.
                if answer.status_code != httpx.codes.NOT_FOUND:
                    yield from self._list(answer)

    def _get(self, path: str, *, hashed: bool = False) -> httpx.Response:
        try:
            answer = self._client.get(path, headers=self._headers, params={"hashed": "true"} if hashed else {})
        except httpx.HTTPError as error:
            raise KeytrailError(f"the gateway does not answer: {type(error).__name__}") from error
        if answer.status_code == httpx.codes.FORBIDDEN:
            raise KeytrailError("the gateway refused: gateway.secret is not its secret")
        return answer

    def _object(self, answer: httpx.Response) -> dict[str, Any]:
        found = _json(answer)
        if not isinstance(found, dict):
            raise KeytrailError(_OTHER)
        return found

    def _list(self, answer: httpx.Response) -> list[dict[str, Any]]:
        found = _json(answer)
        # Go writes a list that was never made as null.
        if not isinstance(found, list | None) or not all(isinstance(one, dict) for one in found or ()):
            raise KeytrailError(_OTHER)
        return found or []


_OTHER: Final = "the gateway answers otherwise than Tyk's admin API: is gateway.url its address?"


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.raise_for_status().json()
    except (httpx.HTTPStatusError, ValueError) as error:
        raise KeytrailError(_OTHER) from error


def _of_key(key: str) -> str:
    return f"/tyk/keys/{quote(key, safe='')}"


def named(gateway: Gateway, org: str, seen: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """What the gateway names in an organisation: the name, the kind of link (`key` or `client`) and its value.

    A key is named by its alias and left out without one; a client by its description, or else by its id.

    Args:
        gateway: The gateway.
        org: The organisation.
        seen: Keys of records, as stored: read, and asked for one by one, only where the gateway does not list its keys.

    Raises:
        KeytrailError: The gateway does not answer, or not as a gateway does.
    """
    try:
        keys, hashed = gateway.keys()
    except ListingForbidden:
        keys, hashed = list(seen), True
    for key in keys:
        session = gateway.session(key, hashed=hashed)
        if session and session.get("org_id") == org and session.get("alias"):
            yield str(session["alias"]), "key", key
    for client in gateway.clients(org):
        if value := client.get("client_id"):
            yield str(client.get("description") or value), "client", str(value)
