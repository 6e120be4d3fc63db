"""Pictures: the script type `Image` and its activities, by Pillow.

A controller that takes or gives pictures annotates with `Image` and `ImageCollection` from here: its method may
return a `PIL.Image.Image`, a uint8 array or the bytes of an image file, and reads what it is given by `load_image`.
"""

from meshwit.plugins.image.coding import load_image, store_image
from meshwit.plugins.image.types import Image, ImageCollection, ImageType

__all__ = ["Image", "ImageCollection", "ImageType", "load_image", "store_image"]
