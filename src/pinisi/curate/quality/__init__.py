"""How much a text is like the good ones that a user names: a classifier for each language, and the best share of its documents."""
