"""The script type `Image`: a blob that holds a picture, in the file format it came in."""

from __future__ import annotations

from typing import Annotated, Any

from meshwit.blob import Blob as BlobHandle
from meshwit.lang.types import ScriptType
from meshwit.plugins.annotations import Script
from meshwit.plugins.image.coding import is_picture, put_image_bytes, store_image
from meshwit.plugins.variables.simple import BlobType

Image = Annotated[Any, Script("Image")]
"""As a parameter: a `meshwit.blob.Blob`, for `load_image`. As a result: see `ImageType.adopt`."""
ImageCollection = Annotated[list[Any], Script("ImageCollection")]


class ImageType(BlobType):
    """A picture."""

    name = "Image"
    media_prefix = "image/"
    natural_media_type = "image/png"
    widens_to = frozenset({"Blob"})

    def adopt(self, value: object, blobs: Any) -> object:
        """A result as an image: blobs as they are, bytes of image files under their own media type, pixels as PNG.

        Raises:
            ValueError: bytes in no known image format, an array that is not uint8 of shape (h, w), (h, w, 3) or
                (h, w, 4), a blob of another kind.
        """
        if isinstance(value, BlobHandle):
            return self.coerce(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return put_image_bytes(value, blobs)
        if is_picture(value):
            return store_image(value, blobs)
        return self.coerce(value)


IMAGE: ScriptType = ImageType()
