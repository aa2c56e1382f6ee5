"""Which task wants which file, and who moves it."""
