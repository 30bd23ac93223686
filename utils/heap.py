"""Memory that is free goes back to the system when it will not be asked for again."""

import ctypes

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others have none


def hand_back() -> None:
    """Hand back what is free. `utils/threads.py` has it kept, as the next step asks for the same
    sizes; after tensors changed their sizes it does not, and what is kept would only be more."""
    if _trim is not None:
        _trim(0)
