"""A message about one element of a set, of which only key, value and time are written anew.

Between `nft_steps` and the kernel, on every command's way into the maps. Pure code; compiled with the packet path.
"""

from __future__ import annotations

from sipalg.datapath import nft_codec
from sipalg.datapath.nft_codec import milliseconds


class ElementFrame:
    """All of a message about one element with a timeout but key, value and time, made once for each set.

    Mappings are renewed on the packet path, where building each message from its attributes costs more than the
    kernel's work on it. Key, value and user data (0: a set has none) must be of these sizes, multiples of four.
    """

    def __init__(
        self,
        table: str,
        name: str,
        key_bytes: int,
        data_bytes: int = 0,
        family: int = nft_codec.IPV4,
        user_bytes: int = 0,
    ) -> None:
        data = bytes(data_bytes) if data_bytes else None
        member = nft_codec.element(bytes(key_bytes), data, 1.0, user_data=bytes(user_bytes))
        body = nft_codec.elements(nft_codec.NEW_ELEMENT, 0, table, name, [member]).body
        # The time's attribute is 12 bytes, 4 of them its header; before a value stand two headers.
        after_time = len(body) - (user_bytes + 4 if user_bytes else 0)
        after_key = after_time - 12 - (data_bytes + 8 if data_bytes else 0)
        self._before_key = bytes((family,)) + body[1 : after_key - key_bytes]
        self._before_data = body[after_key : after_time - 12 - data_bytes]
        self._before_time = body[after_time - 12 : after_time - 8]
        self._before_user_data = body[after_time : len(body) - user_bytes]

    def body(self, key: bytes, data: bytes, timeout_s: float, user_data: bytes = b"") -> bytes:
        """Return the message's body."""
        element = self._before_key + key + self._before_data + data + self._before_time + milliseconds(timeout_s)
        return element + self._before_user_data + user_data
