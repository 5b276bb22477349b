"""The guard against a config.json that makes transformers compute with other code than its own and ours."""

from __future__ import annotations

from typing import Any

_CHOICES = ("attn_implementation", "experts_implementation")  # also with _ before and _internal behind
_OWN = (None, "eager", "sdpa")


def refuse_foreign_code(values: Any, origin: str, keys: tuple[str, ...] = ("quantization_config",)) -> None:
    """Refuses what makes transformers compute with other code: a configuration may be a stranger's.

    A kernel, for example, is a compiled library, which transformers fetches from the Hub by the name that it is given.

    Args:
        values: What a config.json holds, or a part of it.
        origin: Where it is from, for messages.
        keys: Those that may not be given, besides the names of attention and expert implementations.

    Raises:
        ValueError: Names the key, at whatever depth it stands.
    """
    for key, value in values.items() if isinstance(values, dict) else enumerate(values):
        choice = str(key).removeprefix("_").removesuffix("_internal") in _CHOICES
        if (key in keys and value is not None) or (choice and value not in _OWN):
            raise ValueError(
                f"{origin} asks by {key} for code or arithmetic of others, which is refused: {str(value)[:80]!r}; "
                "do without it"
            )
        if isinstance(value, dict | list):
            refuse_foreign_code(value, origin, keys)
