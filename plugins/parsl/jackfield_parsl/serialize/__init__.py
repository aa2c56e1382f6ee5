"""How values cross to workers, which is Jackfield's own."""
