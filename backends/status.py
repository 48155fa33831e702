"""dfc's errors for those of XLA."""

from __future__ import annotations

from dfc.errors import (
    DfcError,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    InvalidType,
    NotFound,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
)

STATUS_ERRORS: dict[str, type[DfcError]] = {
    "RESOURCE_EXHAUSTED": ResourceExhausted,
    "INVALID_ARGUMENT": InvalidArgument,
    "FAILED_PRECONDITION": FailedPrecondition,
    "NOT_FOUND": NotFound,
    "UNAVAILABLE": Unavailable,
    "UNIMPLEMENTED": Unimplemented,
}


def translate(error: BaseException, name: str) -> DfcError:
    """dfc's error for one of XLA's; raise it `from` the original. `name` is the program's or the call's."""
    if isinstance(error, DfcError):
        return error
    text = str(error)
    if any(words in text for words in ("has been deleted", "deleted or donated", "previously donated")):
        return FailedPrecondition(
            "the buffer was donated to an earlier call, or is given twice to one that donates it, so its value is gone",
            op=name,
            hint="keep the arrays that the call returned, not those that it was given",
        )
    if isinstance(error, TypeError):
        return InvalidType(f"every argument must be a jax.Array on the program's device: {text}", op=name)
    kind = STATUS_ERRORS.get(text.partition(":")[0], Internal)
    return kind(f"XLA: {text}", op=name)
