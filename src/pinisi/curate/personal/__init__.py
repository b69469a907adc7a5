"""Finds personal data in a text and puts placeholders in its place: addresses, phone numbers, identity and account numbers.

Reading order: `find` (all kinds together), then a file for each: `addresses`, `phones`, `identities` with `checks`, `accounts`.
Every kind reads a folded copy of the text (`folded`), which is as long as the text, so that what is found lies where it is found.
Addresses that are written out ("name at example dot com") are not found, nor are names, streets and dates of birth.
"""

from pinisi.curate.personal.find import KINDS, PersonalMatch, find, masked

__all__ = ["KINDS", "PersonalMatch", "find", "masked"]
