"""What occurs twice: near duplicates, repeated passages, frequent lines, the same URL. Arrays and strings only, no files."""
