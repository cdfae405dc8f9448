"""Exceptions of the SDK and answers of clouds, sorted into the pool's kinds of trouble."""

from __future__ import annotations

import re

import requests
from keystoneauth1 import exceptions as ksa
from msgspec import Struct
from openstack import exceptions as sdk

from trunkline.pool.model import Trouble

_QUOTA = re.compile(r"quota.*exceed|exceed.*quota|OverQuota|LimitExceeded|maximum number of (fixed|floating) ips", re.I)
_CAPACITY = re.compile(r"no valid host|not enough hosts|insufficient (compute )?resources|out of capacity", re.I)
_QUOTA_NUMBERS = re.compile(
    r"exceeded for (?P<what>[\w, ]+?):\s*Requested [\d, ]+?,\s*but already used (?P<used>\d+)", re.I | re.S
)
_RESOURCE_NAMES = {
    "instances": "instances",
    "cores": "cores",
    "ram": "ram_mib",
    "volumes": "volumes",
    "gigabytes": "volume_gb",
}
MESSAGE_LENGTH = 300


class CloudTrouble(Struct, frozen=True):
    """Why a call failed. in_use: for a full account, how much of `resource` it says is in use."""

    kind: Trouble
    message: str
    resource: str = "instances"
    in_use: int | None = None


def classify(error: BaseException) -> CloudTrouble:
    """The kind of trouble behind an exception of the SDK, keystoneauth or requests."""
    message = _message(error)
    status = getattr(error, "status_code", None) or getattr(error, "http_status", None)
    match error:
        case ksa.Unauthorized() | ksa.MissingAuthPlugin() | ksa.AuthPluginException():
            return CloudTrouble(Trouble.auth, message)
        case sdk.ResourceTimeout() | ksa.ConnectTimeout() | requests.Timeout() | TimeoutError():
            return CloudTrouble(Trouble.timeout, message)
        case ksa.ConnectionError() | requests.ConnectionError() | ConnectionError():
            return CloudTrouble(Trouble.down, message)
        case sdk.ResourceFailure():
            return fault(message)
        case _ if status is not None:
            return _by_status(int(status), message)
        case sdk.DuplicateResource():
            return CloudTrouble(Trouble.invalid, message)
        case ksa.EndpointNotFound() | ksa.CatalogException() | ksa.DiscoveryFailure() | sdk.EndpointNotFound():
            return CloudTrouble(Trouble.down, message)
        case _:
            return _by_text(message) or CloudTrouble(Trouble.down, f"{type(error).__name__}: {message}")


def fault(message: str) -> CloudTrouble:
    """The kind behind the fault of a server in ERROR."""
    return _by_text(message) or CloudTrouble(Trouble.boot, message[:MESSAGE_LENGTH])


def _by_status(status: int, message: str) -> CloudTrouble:
    text = _by_text(message)
    match status:
        case 401:
            return CloudTrouble(Trouble.auth, message)
        case 403 | 413 | 409 | 400 if text is not None:
            return text
        case 403 | 400 | 409 | 405 | 422:
            return CloudTrouble(Trouble.invalid, message)
        case 404:
            return CloudTrouble(Trouble.not_found, message)
        case 413 | 429:
            return CloudTrouble(Trouble.rate, message)
        case 408 | 504:
            return CloudTrouble(Trouble.timeout, message)
        case _:
            return CloudTrouble(Trouble.down, message)


def _by_text(message: str) -> CloudTrouble | None:
    if _QUOTA.search(message):
        numbers = _QUOTA_NUMBERS.search(message)
        what = numbers["what"].split(",")[0].strip().lower() if numbers else "instances"
        used = int(numbers["used"]) if numbers else None
        return CloudTrouble(Trouble.quota, message[:MESSAGE_LENGTH], _RESOURCE_NAMES.get(what, "instances"), used)
    if _CAPACITY.search(message):
        return CloudTrouble(Trouble.capacity, message[:MESSAGE_LENGTH])
    return None


def _message(error: BaseException) -> str:
    details = getattr(error, "details", None)
    text = f"{error}" if not details or str(details) in str(error) else f"{error}: {details}"
    return (text.strip() or type(error).__name__)[:MESSAGE_LENGTH]
