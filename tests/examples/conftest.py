"""The project and the whole run of the engine's tests, for this folder too."""

from tests.engine.conftest import project, whole

__all__ = ["project", "whole"]
