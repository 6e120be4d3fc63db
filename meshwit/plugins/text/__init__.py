"""Text: words and their counts, search by pattern, joining and splitting."""

from meshwit.plugins.text.controller import TEXT_BYTES_MAX, Text, decode_text

__all__ = ["TEXT_BYTES_MAX", "Text", "decode_text"]
