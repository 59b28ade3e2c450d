"""Give every configuration model one base."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Be frozen and refuse what is not declared, so that a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
