"""Makes clean documents of raw text: sources, repair, rules, duplicates, by language packs."""
