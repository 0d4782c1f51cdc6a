"""GPT-2's printable characters for the 256 bytes, used by byte-level vocabularies."""

from functools import cache


@cache
def byte_to_char() -> dict[int, str]:
    """One visible character for each byte, as in GPT-2's `encoder.py` (bytes_to_unicode)."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    table = {byte: chr(byte) for byte in visible}
    table.update({byte: chr(256 + rank) for rank, byte in enumerate(hidden)})
    return table


@cache
def char_to_byte() -> dict[str, int]:
    """The way back."""
    return {char: byte for byte, char in byte_to_char().items()}


def token_bytes(token: str) -> bytes | None:
    """The bytes of an entry of a byte-level vocabulary; None if it is not one."""
    table = char_to_byte()
    if all(char in table for char in token):
        return bytes(table[char] for char in token)
    return None
