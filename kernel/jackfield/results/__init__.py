"""Results of cached apps: kept, stored, found again."""
