"""The state of a job, sent to its client's address when it has ended."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from speech2vid import __version__
from speech2vid.errors import ConfigError

log = logging.getLogger(__name__)

PAUSES_S = (0.0, 2.0, 10.0)  # before each attempt
TIMEOUT_S = 10.0
SIGNATURE = "X-Speech2vid-Signature"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """An address that is allowed must not lead to one that is not."""

    def redirect_request(self, *details: Any) -> None:
        return None


def check_webhook(url: str, hosts: tuple[str, ...]) -> str:
    """Return the address of a webhook, if jobs may be reported there.

    Raises:
        ConfigError: not an address of HTTP, or its host is not among ``hosts``.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host or not url.isprintable() or " " in url:
        raise ConfigError(f"webhook cannot be {url[:80]!r}", "give an address that begins with https://")
    if host not in hosts:
        raise ConfigError(
            f"webhooks to {host[:80]!r} are not allowed", "start the server with --webhook-hosts followed by that name"
        )
    return url


def send(url: str, status: Mapping[str, Any], token: str | None) -> bool:
    """Send the state of a job by POST; a few attempts, redirects are not followed. Return whether it was accepted.

    Args:
        url: of :func:`check_webhook`.
        status: JSON values.
        token: key of the signature in the header ``X-Speech2vid-Signature``: ``sha256=`` and the HMAC of the body in
            hexadecimal digits; None for no signature.
    """
    body = json.dumps(status).encode()
    headers = {"Content-Type": "application/json", "User-Agent": f"speech2vid/{__version__}"}
    if token is not None:
        headers[SIGNATURE] = "sha256=" + hmac.new(token.encode(), body, hashlib.sha256).hexdigest()
    request = urllib.request.Request(url, body, headers)
    opener = urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))
    reason = ""
    for pause_s in PAUSES_S:
        time.sleep(pause_s)
        try:
            with opener.open(request, timeout=TIMEOUT_S):
                return True
        except (OSError, ValueError) as error:
            reason = str(error)
    log.warning("the webhook of job %s was not accepted: %s", status.get("id"), reason)
    return False
