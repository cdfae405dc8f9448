"""Getting the bits of an image into a region, by whatever way it takes them.

Ways: "put" (upload to the image's file), "import" (stage, then import), "task" (object storage, then an import task;
the SDK does this when clouds.yaml says image_api_use_tasks). The vendor's usual way is tried first, then the others.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from msgspec import Struct
from openstack import exceptions as sdk

SUFFIXES = {"raw": ("raw", "img"), "qcow2": ("qcow2",), "vhd": ("vhd",)}


class ImageFile(Struct, frozen=True):
    """An image built elsewhere, as a file here."""

    name: str
    path: str
    format: str
    sha256: str
    md5: str

    @property
    def cloud_name(self) -> str:
        """Its name in a cloud: the same bits have the same name, other bits another."""
        return f"{self.name}-{self.sha256[:12]}"


def find_file(directory: Path, image: str, format: str) -> ImageFile | None:
    """The file of an image in the format that a region takes, with its checksums; None if there is none."""
    for suffix in SUFFIXES.get(format, (format,)):
        path = directory / f"{image}.{suffix}"
        if path.is_file():
            sha256, md5 = _checksums(path)
            return ImageFile(image, str(path), format, sha256, md5)
    return None


def upload(conn: Any, file: ImageFile, method: str, owner: str, timeout_s: float) -> str:
    """Upload and wait until the image can be used. Returns its id in the region. Raises what the last way raised."""
    ways = [method, *(way for way in ("put", "import") if way != method)]
    failure: Exception | None = None
    for way in ways:
        try:
            image = conn.image.create_image(
                file.cloud_name,
                filename=file.path,
                disk_format=file.format,
                container_format="bare",
                md5=file.md5,
                sha256=file.sha256,
                allow_duplicates=False,
                wait=True,
                timeout=timeout_s,
                use_import=way == "import",
                properties={"trunkline_owner": owner, "trunkline_image": file.name},
            )
        except (sdk.ForbiddenException, sdk.BadRequestException, sdk.NotFoundException, sdk.ConflictException) as error:
            failure = error
            _delete_unfinished(conn, file.cloud_name)
            continue
        except sdk.HttpException as error:
            if error.status_code != 405:
                raise
            failure = error
            _delete_unfinished(conn, file.cloud_name)
            continue
        conn.image.wait_for_status(image, "active", ["killed", "deleted"], 1, timeout_s)  # imports go on by themselves
        return str(image.id)
    assert failure is not None
    raise failure


def _delete_unfinished(conn: Any, name: str) -> None:
    for image in conn.image.images(name=name):
        if image.name == name and image.status != "active":
            conn.image.delete_image(image.id, ignore_missing=True)


def _checksums(path: Path) -> tuple[str, str]:
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            sha256.update(chunk)
            md5.update(chunk)
    return sha256.hexdigest(), md5.hexdigest()
