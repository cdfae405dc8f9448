"""The clouds: one adapter over openstacksdk, whatever the vendor.

What may live here: every call to an OpenStack, the vendors' peculiarities as data, the limiter, and the reading of
host keys from servers. What may not: decisions (which server, where, when: pool) and tables (store). Everything in
`Region` blocks and is called from worker threads.

Nouns: a *region* (one account in one region of one cloud), a *vendor profile* (where its regions are, how it wants
images and addresses), a *server as seen* (one line of one list), *trouble* (why a call failed, in the pool's terms).

Credentials come from clouds.yaml, what to make from the pool's specs; what was seen goes back as plain values.
"""

from trunkline.clouds.hostkeys import NotReachable, scan_host_keys
from trunkline.clouds.images import ImageFile
from trunkline.clouds.limiter import Limiter
from trunkline.clouds.network import Addresses
from trunkline.clouds.region import Region, ServerSeen
from trunkline.clouds.trouble import CloudTrouble, classify
from trunkline.clouds.vendors import Profile, place_of, profile_of

__all__ = [
    "Addresses",
    "CloudTrouble",
    "ImageFile",
    "Limiter",
    "NotReachable",
    "Profile",
    "Region",
    "ServerSeen",
    "classify",
    "place_of",
    "profile_of",
    "scan_host_keys",
]
