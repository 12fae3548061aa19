"""Published test sets and labels: the rules that rebuild them, with their checksums."""
