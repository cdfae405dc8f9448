"""What answers of clouds mean."""

from __future__ import annotations

import pytest
import requests
from keystoneauth1 import exceptions as ksa
from openstack import exceptions as sdk

from trunkline.clouds.trouble import classify, fault
from trunkline.pool import Trouble


def http(status: int, message: str) -> sdk.HttpException:
    response = requests.Response()
    response.status_code = status
    kind = {403: sdk.ForbiddenException, 404: sdk.NotFoundException, 409: sdk.ConflictException}
    return kind.get(status, sdk.HttpException)(message=message, response=response)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ksa.Unauthorized("no"), Trouble.auth),
        (http(401, "The request you have made requires authentication."), Trouble.auth),
        (ksa.ConnectFailure("refused"), Trouble.down),
        (ksa.ConnectTimeout("slow"), Trouble.timeout),
        (requests.ReadTimeout("slow"), Trouble.timeout),
        (http(500, "Unexpected API Error."), Trouble.down),
        (http(503, "Service Unavailable"), Trouble.down),
        (http(504, "Gateway Timeout"), Trouble.timeout),
        (http(429, "Too Many Requests"), Trouble.rate),
        (http(413, "This request was rate-limited."), Trouble.rate),
        (http(404, "Image not found"), Trouble.not_found),
        (http(400, "Invalid input"), Trouble.invalid),
        (http(403, "Policy doesn't allow it to be performed."), Trouble.invalid),
        (http(409, "Multiple possible networks found, use a Network ID to be more specific."), Trouble.invalid),
        (http(409, "Quota exceeded for resources: ['floatingip']."), Trouble.quota),
        (sdk.ResourceTimeout("waited"), Trouble.timeout),
        (sdk.DuplicateResource("two"), Trouble.invalid),
    ],
)
def test_kinds(error: Exception, kind: Trouble):
    assert classify(error).kind is kind


def test_a_refusal_says_how_much_is_in_use():
    message = "Quota exceeded for instances: Requested 1, but already used 10 of 10 instances"
    trouble = classify(http(403, message))
    assert (trouble.kind, trouble.resource, trouble.in_use) == (Trouble.quota, "instances", 10)
    both = "Quota exceeded for cores, ram: Requested 4, 8192, but already used 38, 70000 of 40, 72000 cores, ram"
    trouble = classify(http(403, both))
    assert (trouble.resource, trouble.in_use) == ("cores", 38)


def test_faults_of_servers():
    assert fault("No valid host was found. There are not enough hosts available.").kind is Trouble.capacity
    assert fault("Build of instance aborted").kind is Trouble.boot
