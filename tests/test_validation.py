"""What settings say when they refuse a value."""

from __future__ import annotations

import pickle
from typing import Literal

import pytest
from pydantic import Field, model_validator

from latechunk.errors import InputError, ModelError
from latechunk.validation import Validated


class Window(Validated):
    size: int = Field(ge=1, le=2_000)
    overlap: float = Field(default=0.5, ge=0, lt=1)
    side: Literal["left", "right"] = "left"
    names: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fit(self) -> Window:
        if self.size == 13:
            raise ValueError("size must not be 13")
        return self


class Weights(Validated):
    error = ModelError
    subject = "weights.json"

    window: Window


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": 0}, "size must be at least 1, got 0"),
        ({"size": 2_001}, "size must be at most 2,000, got 2001"),
        ({"size": True}, "size must be a whole number, got True"),
        ({"size": 1.0}, "size must be a whole number, got 1.0"),
        ({"size": "1"}, "size must be a whole number, got '1'"),
        ({"size": 1, "overlap": 1}, "overlap must be less than 1, got 1"),
        ({"size": 1, "overlap": "x"}, "overlap must be a number, got 'x'"),
        ({"size": 1, "overlap": -0.5}, "overlap must be at least 0, got -0.5"),
        ({"size": 1, "side": "up"}, "side must be one of 'left' or 'right', got 'up'"),
        ({"size": 1, "names": ("a", 2)}, "names.1 must be a string, got 2"),
        ({}, "size is missing"),
        ({"size": 1, "overlp": 0.1}, "there is no 'overlp': did you mean 'overlap'?"),
        ({"size": 1, "limit": 3}, "there is no 'limit': known are names, overlap, side, size"),  # k of a search
        ({"size": 1, "qq": 0.1}, "there is no 'qq': known are names, overlap, side, size"),
        ({"size": 13}, "size must not be 13"),
        ({"size": 0, "side": 1}, "size must be at least 1, got 0; side must be one of 'left' or 'right', got 1"),
    ],
)
def test_messages(given, message):
    with pytest.raises(InputError) as caught:
        Window(**given)
    assert str(caught.value) == message


def test_values_without_names_are_told_their_names():
    with pytest.raises(InputError) as caught:
        Window(128, 0.5, "left", (), "more")
    assert str(caught.value) == (
        "Window takes its settings by name: Window(size=128, overlap=0.5, side='left', names=())"
    )


def test_the_error_and_the_subject_are_the_class_own():
    with pytest.raises(ModelError) as caught:
        Weights.from_json('{"window": {"size": 0}}')
    assert str(caught.value) == "weights.json: window.size must be at least 1, got 0"


def test_json_lists_become_tuples_but_types_stay_strict_in_code():
    assert Window.from_json('{"size": 3, "names": ["a"]}') == Window(size=3, names=("a",))
    with pytest.raises(InputError, match="names must be a tuple, got"):
        Window(size=3, names=["a"])


def test_what_is_not_json():
    with pytest.raises(ModelError, match="weights.json: it is not JSON: EOF while parsing"):
        Weights.from_json("{")


def test_frozen_equal_and_picklable():
    window = Window(size=3)
    assert pickle.loads(pickle.dumps(window)) == window
    with pytest.raises(ValueError, match="frozen"):
        window.size = 4
