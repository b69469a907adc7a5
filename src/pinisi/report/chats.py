"""Writes the page of a chat that shows which of its tokens are trained."""

from __future__ import annotations

from collections.abc import Iterable

from pinisi.report.render import render


def chat_page(place: str, told: str, stretches: Iterable[tuple[str, bool]]) -> str:
    """Returns the page's HTML, which is also well-formed XML. place: file and line; told: how many tokens are
    trained. stretches: of the chat's text, each with whether it is trained."""
    return render("chat.html", title="What is trained", lead=place, told=told, stretches=list(stretches))
