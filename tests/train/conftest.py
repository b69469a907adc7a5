"""The project, the whole run and the run of one rank of the engine's tests, for this folder too."""

from tests.engine.conftest import alone, project, whole

__all__ = ["alone", "project", "whole"]
