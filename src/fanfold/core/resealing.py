"""What is kept sealed, sealed with the newest secret key; what does not open stays as it is, and is counted."""

from fanfold.core.crypto import KeyRing, SealBroken


class Resealing:
    """One pass over what is kept sealed. `not_opened` are the values that no key of the ring opened."""

    def __init__(self, key_ring: KeyRing) -> None:
        self._key_ring = key_ring
        self.newest = bytes.fromhex(key_ring.key_ids[0])  # what the newest key sealed begins with it
        self.not_opened = 0

    def anew(self, sealed: bytes, *, bound_to: str) -> bytes | None:
        """Return it sealed with the newest key; None where it does not open."""
        try:
            content = self._key_ring.unseal_bytes(sealed, bound_to=bound_to)
        except SealBroken:
            self.not_opened += 1
            return None
        return self._key_ring.seal_bytes(content, bound_to=bound_to)

    def record(self, record: object, *names: str, bound_to: str) -> bool:
        """Seal these attributes of a record anew, those that are set; tells whether all of them opened."""
        before = self.not_opened
        for name in names:
            sealed: bytes | None = getattr(record, name)
            anew = self.anew(sealed, bound_to=bound_to) if sealed is not None else None
            if anew is not None:
                setattr(record, name, anew)
        return self.not_opened == before
