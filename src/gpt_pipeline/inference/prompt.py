"""What the model reads of a text prompt."""

from collections.abc import Sequence


def document_ids(
    ids: Sequence[int], *, add_bos_token: bool, eot_id: int, max_length: int
) -> tuple[int, ...]:
    """The ids of a text that begins a document, behind end-of-text as in training.

    Without it where `add_bos_token` is false, where the context of `max_length` has no room for it,
    and for an empty text, which `Engine` lets begin with end-of-text by itself.
    """
    if add_bos_token and 0 < len(ids) < max_length:
        return (eot_id, *ids)
    return tuple(ids)
