"""What people read: the report of one test, and tables over many."""
