"""Why a service gave no answer, in words for people: no class of an exception, no address, nothing secret."""

from __future__ import annotations

import errno
import os
import socket
import ssl

import aiohttp

_BY_NUMBER = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "the connection broke",
    errno.EPIPE: "the connection broke",
    errno.EHOSTUNREACH: "no way to the host",
    errno.ENETUNREACH: "no way to the network",
    errno.ETIMEDOUT: "it took too long",
}


def cause(error: BaseException) -> str:
    """What *error* of a connection means, such as `connection refused`."""
    for each in _chain(error):
        if isinstance(each, TimeoutError):
            return "it took too long"
        if isinstance(each, ssl.SSLCertVerificationError | aiohttp.ClientConnectorCertificateError):
            return "its certificate is not trusted"
        if isinstance(each, ssl.SSLError | aiohttp.ClientConnectorSSLError):
            return "it does not speak TLS as it should"
        if isinstance(each, socket.gaierror | aiohttp.ClientConnectorDNSError):
            return "its name is not known"
    for each in _chain(error):
        if isinstance(each, OSError) and each.errno is not None:
            return _BY_NUMBER.get(each.errno) or os.strerror(each.errno).lower()
    return "the connection broke"


def _chain(error: BaseException) -> list[BaseException]:
    """*error* and what led to it; pika keeps that in the arguments, in several layers."""
    found: list[BaseException] = []
    waiting: list[BaseException] = [error]
    while waiting and len(found) < 20:
        each = waiting.pop(0)
        if each in found:
            continue
        found.append(each)
        nested = [getattr(each, name, None) for name in ("exception", "os_error", "__cause__", "__context__")]
        waiting += [inner for inner in (*each.args, *nested) if isinstance(inner, BaseException)]
    return found
