"""From raw text to clean documents: sources, repair, rules, duplicates, by language packs."""
