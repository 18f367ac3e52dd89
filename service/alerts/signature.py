"""How a webhook proves where it comes from. Source: Standard Webhooks 1.0.0, symmetric signatures. Pure."""

import base64
import binascii
import hashlib
import hmac
from typing import Final

_PREFIX: Final = "whsec_"


def key_of(secret: str) -> bytes:
    """The key in a secret: base64, with `whsec_` before it or without, as the reference library reads it.

    Any other text, which that library cannot read, is the key itself.
    """
    encoded = secret.removeprefix(_PREFIX)
    try:
        # It takes base64 without its padding, too.
        return base64.b64decode(encoded + "==")
    except (binascii.Error, ValueError):
        return secret.encode()


def signed(message_id: str, body: bytes, key: bytes, *, at_s: int) -> dict[str, str]:
    """The headers of one try. at_s: Unix time of the try, which the receiver takes for some minutes only."""
    content = b".".join((message_id.encode(), str(at_s).encode(), body))
    signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return {**unsigned(message_id, at_s=at_s), "webhook-signature": f"v1,{signature}"}


def unsigned(message_id: str, *, at_s: int) -> dict[str, str]:
    """The headers of one try without a signature."""
    return {"webhook-id": message_id, "webhook-timestamp": str(at_s)}
