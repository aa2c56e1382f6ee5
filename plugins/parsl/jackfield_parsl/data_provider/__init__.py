"""Files, and what moves them."""
