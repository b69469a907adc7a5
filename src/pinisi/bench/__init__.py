"""What `pinisi bench` measures. Every command prints a table and takes --json FILE."""
