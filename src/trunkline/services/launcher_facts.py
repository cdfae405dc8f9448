"""What a region has: limits, flavors, images (uploading ours where they are missing), key pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import structlog

from trunkline.clouds import CloudTrouble, Region, classify
from trunkline.pool.model import Offer, ProviderSpec, Resources
from trunkline.services.launcher_threads import Crew

log = structlog.get_logger("launcher.facts")


class Facts:
    """Reads them in the threads of a region's crew."""

    def __init__(self, cloud: Region, crew: Crew, images_dir: Path | None, public_key: str | None) -> None:
        self._cloud, self._crew = cloud, crew
        self._images_dir, self._public_key = images_dir, public_key
        self._keys_done: set[str] = set()
        self._uploads: dict[str, str] = {}
        self._failed: dict[str, str] = {}

    async def read(self, specs: Sequence[ProviderSpec]) -> tuple[Resources, Offer]:
        """Raises what the cloud raises; uploads that fail are problems of their image instead."""
        await self._ensure_keys(specs)
        await self._ensure_images(specs)
        with_volumes = any(label.boot_from_volume for spec in specs for label in spec.labels)
        limits = await self._crew.run(self._cloud.limits, with_volumes=with_volumes)
        offer = await self._crew.run(self._cloud.offer, specs, dict(self._uploads))
        problems = {**offer.problems, **{f"image:{name}": why for name, why in self._failed.items()}}
        return limits, Offer(offer.flavors, offer.images, problems, offer.azs)

    async def _ensure_keys(self, specs: Sequence[ProviderSpec]) -> None:
        if self._public_key is None:
            return
        names = {label.key_name for spec in specs for label in spec.labels if label.key_name}
        for name in sorted(names - self._keys_done):
            await self._crew.run(self._cloud.ensure_keypair, name, self._public_key)
            self._keys_done.add(name)

    async def _ensure_images(self, specs: Sequence[ProviderSpec]) -> None:
        images = {
            label.image.name: label.image for spec in specs for label in spec.labels if label.image.type == "zuul"
        }
        for name, image in sorted(images.items()):
            if name in self._uploads:
                continue
            why = await self._ensure_image(name, float(image.import_timeout_s))
            if why is None:
                self._failed.pop(name, None)
            else:
                self._failed[name] = why

    async def _ensure_image(self, name: str, timeout_s: float) -> str | None:
        """Returns why it cannot be had, or None when it is there."""
        where = f"{self._cloud.cloud}/{self._cloud.region}"
        if self._images_dir is None:
            return f"{where}: image {name} is one of ours, but no image directory is configured"
        file = await self._crew.run(self._cloud.image_file, self._images_dir, name)
        if file is None:
            return f"{where} takes {self._cloud.image_format}; there is no {name}.{self._cloud.image_format}"
        found = await self._crew.run(self._cloud.find_upload, file)
        if found is None:
            try:
                found = await self._crew.run(self._cloud.upload, file, timeout_s)
            except Exception as error:
                trouble: CloudTrouble = classify(error)
                log.warning("image.upload.failed", region=where, image=name, error=trouble.message)
                return f"{where}: upload of image {name} failed: {trouble.message}"
            log.info("image.uploaded", region=where, image=name, id=found, method=self._cloud.image_method)
        self._uploads[name] = found
        return None
