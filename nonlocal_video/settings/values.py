"""Kinds of values that settings have, how plain values become settings, and what is said of those that cannot be."""

from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, PlainValidator, Strict, TypeAdapter, ValidationError

Settings = TypeVar("Settings")

CHECKED = ConfigDict(extra="forbid", coerce_numbers_to_str=True)
"""How a dataclass of settings checks what it is made of."""
NOT_GIVEN = "(not given)"
"""Stands in a dry run for the path of videos or weights that nobody gave."""


def _text(value: Any) -> str:
    """The text of a setting; Pydantic's own type refuses names of files that are no UTF-8."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        raise ValueError(f"got {value!r}, expected a name")
    return str(value)


def _texts(value: Any) -> str | list[str]:
    return list(map(_text, value)) if isinstance(value, list) else _text(value)


File = Annotated[str, PlainValidator(_text)]
"""The name of a file or folder, or of what is found by such names."""
Files = Annotated[str | list[str], PlainValidator(_texts)]
"""One such name, or several."""
Count = Annotated[int, Strict(), Field(ge=1)]
Natural = Annotated[int, Strict(), Field(ge=0, lt=2**63)]
Steps = Annotated[int, Strict(), Field(ge=1, le=10**7)]
NotNegative = Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Strict(), Field(ge=0, le=1)]

WORDS = {
    "greater_than_equal": "{ge:g} or more",
    "greater_than": "more than {gt:g}",
    "less_than_equal": "{le:g} or less",
    "literal_error": "{expected}",
    "less_than": "less than {lt:g}",
    "float_type": "a number",
    "int_type": "a whole number",
    "bool_parsing": "true or false",
}
"""Words for what is expected, where Pydantic says it at length."""


def settings_of(kind: type[Settings], plain: Any, *, where: str = "") -> Settings:
    """The dataclass of settings that plain values, by their names, stand for; `where` begins errors.

    Raises:
        ValueError: values that there are not, or that cannot be; says which, what was got, and what is expected.
    """
    try:
        return TypeAdapter(kind).validate_python(plain)
    except ValidationError as error:
        raise ValueError(f"{where}{'; '.join(map(_told, error.errors()))}") from error


def _told(error: Any) -> str:
    """One thing that is wrong, by the dotted name of its setting."""
    name, facts = ".".join(map(str, error["loc"])), error.get("ctx", {})
    if error["type"] == "unexpected_keyword_argument":
        return f"{name}: there is no such setting"
    if error["type"] == "missing":
        return f"{name}: got no value"
    if error["type"] == "value_error":
        said = str(facts["error"])
        return f"{name}: {said}" if said.startswith("got ") else ".".join(filter(None, (name, said)))
    expected = WORDS.get(error["type"], error["msg"].removeprefix("Input should be ")).format(**facts).replace("'", "")
    return f"{name}: got {error['input']}, expected {expected}"


def expect(holds: bool, what: str, got: object, expected: str) -> None:
    """Raises ValueError, with these words, where something does not hold."""
    if not holds:
        raise ValueError(f"{what}: got {got}, expected {expected}")
