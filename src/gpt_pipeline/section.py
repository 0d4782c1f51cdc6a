"""The base class of all sections of the config, and the types of their keys."""

import re
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Interval
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Count = Annotated[int, Field(gt=0)]
Whole = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Bias = Annotated[float, Interval(ge=-100, le=100)]
LogitBias = dict[Annotated[int, Ge(0)], Bias]
Penalty = Annotated[float, Field(ge=0.01, le=100)]
DrawnPenalty = Annotated[float, Field(ge=-2, le=2)]


@dataclass(frozen=True)
class IsPath:
    """Marks text that names a file or folder; see `expand_paths`."""


PathText = Annotated[str, IsPath()]
NotEmpty = Annotated[str, Field(min_length=1)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$", max_length=200)]
"""With its prefixes and suffixes at most 255 bytes, the limit of file systems."""
_ORIGIN = re.compile(
    r"\*|null|(?!https://.*:443$|http://.*:80$)"
    r"[a-z][a-z0-9+.-]*://([a-z0-9._~-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?"
)


def _origin(text: str) -> str:
    if not _ORIGIN.fullmatch(text):
        raise ValueError("not an origin that browsers send")
    return text


Origins = list[Annotated[str, AfterValidator(_origin)]]
"""Origins as browsers send them in the header `Origin`: scheme, host, and a port unless it is the
scheme's default.
"""


class Section(BaseModel):
    """One group of keys: frozen, strict about types, no unknown names."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
