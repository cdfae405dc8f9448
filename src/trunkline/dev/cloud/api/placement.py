"""Placement: for administrators, and used by probes only."""

from trunkline.dev.cloud.api.routing import Answer, Call, Refusal, Routes
from trunkline.dev.cloud.world import fixed_uuid

routes = Routes()


@routes.add("GET", "/resource_providers")
async def resource_providers(call: Call) -> Answer:
    if not call.is_admin:
        detail = "Access was denied to this resource.\n\n Policy does not allow placement:resource_providers:list to be performed.  "
        row = {"status": 403, "title": "Forbidden", "detail": detail, "request_id": call.request_id}
        raise Refusal(Answer(403, {"errors": [row]}))
    ident = fixed_uuid(call.region.label, "host")
    path = f"/resource_providers/{ident}"
    names = ("inventories", "usages", "aggregates", "traits", "allocations")
    links = [{"rel": "self", "href": path}, *({"rel": name, "href": f"{path}/{name}"} for name in names)]
    row = {
        "uuid": ident,
        "name": "host1",
        "generation": 1,
        "links": links,
        "parent_provider_uuid": None,
        "root_provider_uuid": ident,
    }
    return Answer(200, {"resource_providers": [row]})
