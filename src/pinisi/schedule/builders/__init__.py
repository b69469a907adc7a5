"""Makes tables: a builder for each schedule, and what they share."""
