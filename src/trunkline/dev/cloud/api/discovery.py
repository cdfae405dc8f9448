"""Version documents: what each service says to somebody who has not signed in."""

from trunkline.dev.cloud.api.identity import version_2_document, version_document
from trunkline.dev.cloud.api.routing import Answer, Call
from trunkline.dev.cloud.world import Record

NOT_FOUND = {
    "message": "The resource could not be found.<br /><br />\n\n\n",
    "code": "404 Not Found",
    "title": "Not Found",
}

_IMAGE_VERSIONS = (
    "v2.15",
    "v2.13",
    "v2.12",
    "v2.11",
    "v2.10",
    "v2.9",
    "v2.8",
    "v2.7",
    "v2.6",
    "v2.5",
    "v2.4",
    "v2.3",
    "v2.2",
    "v2.1",
    "v2.0",
)


def answer(call: Call) -> Answer | None:
    """The version document that is asked for, or None when the request is for something else."""
    if call.method not in ("GET", "HEAD"):
        return None
    path = call.path.rstrip("/") or "/"
    match call.service:
        case "identity":
            return _identity(call, path)
        case "compute":
            return _compute(call, path)
        case "image" if path in ("/", "/versions"):
            rows = [
                {
                    "id": name,
                    "status": "CURRENT" if name == "v2.15" else "SUPPORTED",
                    "links": [_self(f"{call.root}/v2/")],
                }
                for name in _IMAGE_VERSIONS
            ]
            return Answer(300 if path == "/" else 200, {"versions": rows})
        case "network":
            return _network(call, path)
        case "volume":
            return _volume(call, path)
        case "placement" if path == "/":
            row = {"id": "v1.0", "max_version": "1.39", "min_version": "1.0", "status": "CURRENT", "links": [_self("")]}
            return Answer(200, {"versions": [row]}, {"openstack-api-version": "placement 1.0"})
    return None


def _self(url: str) -> Record:
    return {"rel": "self", "href": url}


def _identity(call: Call, path: str) -> Answer | None:
    documents = [version_document(call.cloud)]
    if call.cloud.profile.identity_v2:
        documents.append(version_2_document(call.cloud))
    if path == "/":
        return Answer(300, {"versions": {"values": documents}}, {"Location": f"{call.root}/v3/"})
    if path == "/v3":
        return Answer(200, {"version": documents[0]})
    if path == "/v2.0" and call.cloud.profile.identity_v2:
        return Answer(200, {"version": documents[1]})
    return None


def _compute(call: Call, path: str) -> Answer | None:
    old = {
        "id": "v2.0",
        "status": "SUPPORTED",
        "version": "",
        "min_version": "",
        "updated": "2011-01-21T11:33:21Z",
        "links": [_self(f"{call.root}/v2/")],
    }
    new = {
        "id": "v2.1",
        "status": "CURRENT",
        "version": "2.93",
        "min_version": "2.1",
        "updated": "2013-07-23T11:33:21Z",
        "links": [_self(f"{call.root}/v2.1/")],
    }
    if path == "/":
        return Answer(200, {"versions": [old, new]})
    if path == "/v2.1":
        new["links"] = [
            _self(f"{call.root}/v2.1/"),
            {"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"},
        ]
        new["media-types"] = [
            {"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}
        ]
        return Answer(200, {"version": new})
    return None


def _network(call: Call, path: str) -> Answer | None:
    if path == "/":
        return Answer(200, {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [_self(f"{call.root}/v2.0/")]}]})
    if path == "/v2.0" and call.token is not None:
        if not call.path.endswith("/"):
            return Answer(404, NOT_FOUND)
        names = [("network", "networks"), ("subnet", "subnets"), ("subnetpool", "subnetpools"), ("port", "ports")]
        rows = [{"name": one, "collection": many, "links": [_self(f"{call.root}/v2.0/{many}")]} for one, many in names]
        return Answer(200, {"resources": rows})
    return None


def _volume(call: Call, path: str) -> Answer | None:
    if path != "/" and (path != "/v3" or call.token is None):
        return None
    row = {
        "id": "v3.0",
        "status": "CURRENT",
        "version": "3.70",
        "min_version": "3.0",
        "updated": "2022-08-31T00:00:00Z",
        "links": [
            {"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
            _self(f"{call.root}/v3/"),
        ],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"}],
    }
    return Answer(300 if path == "/" else 200, {"versions": [row]}, {"Openstack-Api-Version": "volume 3.0"})
