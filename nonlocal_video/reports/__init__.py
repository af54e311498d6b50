"""Reports for people: of one test, of a census, and tables over many tests."""
