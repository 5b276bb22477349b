"""The text of a card with values replaced, and what is said of one that cannot be read."""

import pytest
import yaml

from rgbd3d import cards
from rgbd3d.cards import CardError


def changed(text: str, **sections: object) -> str:
    """The card with values replaced: train__optimizer__lr=..."""
    values = yaml.safe_load(text)
    for path, value in sections.items():
        *parents, key = path.split("__")
        section = values
        for parent in parents:
            section = section[parent]
        section[key] = value
    return yaml.safe_dump(values, sort_keys=False)


def error(text: str) -> str:
    """The message, which begins with file and line."""
    with pytest.raises(CardError) as caught:
        cards.parse(text, "file.yaml")
    assert str(caught.value).startswith("file.yaml:")
    return str(caught.value)
